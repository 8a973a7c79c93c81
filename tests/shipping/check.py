"""What is shipped beside the programs, read by those whom it is for: the chart by Helm, what it makes and the example by
the schemas of Kubernetes, the compose file by YAML. Ends with the first mistake."""

import pathlib
import sys

import helm_python as helm
import kubernetes_validate as kubernetes
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "conf/helm/openclaw-edge"
VERSION = "1.34"
# Kinds that a cluster has from an operator: no schema of Kubernetes' own.
FOREIGN = {"ServiceMonitor"}


def documents(text):
    return [one for one in yaml.safe_load_all(text) if one]


def hold(one):
    """Holds one object to the schema of its kind, unknown members included."""
    if one["kind"] not in FOREIGN:
        kubernetes.validate(one, VERSION, strict=True)


def rendered(values):
    with helm.Chart.load(str(CHART)) as chart:
        manifests = chart.render(values, name="edge", namespace="prod")
    found = {}
    for text in manifests.values():
        for one in documents(text):
            hold(one)
            found[(one["kind"], one["metadata"]["name"])] = one
    return found


def must(holds, what):
    if not holds:
        sys.exit(f"not so: {what}")


def refused(one):
    try:
        hold(one)
    except kubernetes.ValidationError:
        return True
    return False


def chart():
    report = helm.lint(str(CHART), values={"config": "x"}, strict=True)
    must(report["total_charts_linted"] == 1 and not report["errors"], report)
    must(refused({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"prots": []}}), "a typing mistake is found")
    example = yaml.safe_load((ROOT / "conf/kubernetes/values.yaml").read_text())
    three = rendered(example)
    edges = three[("StatefulSet", "edge")]
    must(edges["spec"]["replicas"] == 3, "three edges")
    must(("HorizontalPodAutoscaler", "edge") not in three, "no autoscaler where it is off")
    must(("ServiceMonitor", "edge") in three and ("PodDisruptionBudget", "edge") in three, "monitor and budget")
    pod = edges["spec"]["template"]["spec"]
    must(pod["securityContext"]["runAsNonRoot"], "no root")
    container = pod["containers"][0]
    must(container["securityContext"]["readOnlyRootFilesystem"], "a root that cannot be written to")
    must(container["envFrom"] == [{"secretRef": {"name": "edge-keys"}}], "secrets from the Secret")
    must(three[("ConfigMap", "edge")]["data"]["edge.yaml"].rstrip() == example["config"].rstrip(), "the config as it is")
    # Selectors find what they are for.
    labels = edges["spec"]["template"]["metadata"]["labels"]
    for kind, name in [("Service", "edge"), ("Service", "edge-edges")]:
        must(three[(kind, name)]["spec"]["selector"].items() <= labels.items(), f"{kind} {name} finds the edges")
    for kind, key in [("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")]:
        must(three[(kind, "edge")]["spec"][key]["matchLabels"].items() <= labels.items(), f"{kind} finds the edges")
    wanted = three[("ServiceMonitor", "edge")]["spec"]["selector"]["matchLabels"].items()
    found = [name for (kind, name), one in three.items() if kind == "Service" and wanted <= one["metadata"]["labels"].items()]
    must(found == ["edge-edges"], "the monitor finds the admin listeners alone")

    whole = rendered({**example, "autoscaling": {"enabled": True}, "files": {"site.pem": "-----BEGIN CERTIFICATE-----\nA\n"}, "tolerations": [{"operator": "Exists"}],
                      "nodeSelector": {"a": "b"}, "podAnnotations": {"a": "b"}, "service": {"type": "ClusterIP", "annotations": {"a": "b"}}})
    must(whole[("ConfigMap", "edge")]["data"]["site.pem"].endswith("\nA\n"), "a file beside the config")
    scaler = whole[("HorizontalPodAutoscaler", "edge")]["spec"]
    must((scaler["minReplicas"], scaler["maxReplicas"]) == (3, 12), "the autoscaler's numbers")
    must("replicas" not in whole[("StatefulSet", "edge")]["spec"], "no number beside an autoscaler's")
    try:
        rendered({})
    except helm.HelmError as error:
        must("config" in str(error), "a chart without a config says so")
    else:
        must(False, "a chart without a config is refused")
    # What is written to the files that the tests of configs read.
    if len(sys.argv) > 1:
        pathlib.Path(sys.argv[1]).write_text(example["config"])


def example():
    seen = set()
    for one in documents((ROOT / "conf/kubernetes/site.yaml").read_text()):
        hold(one)
        seen.add((one["kind"], one["metadata"]["name"]))
    must({("Deployment", "store"), ("StatefulSet", "postgres"), ("StatefulSet", "redis")} <= seen, "the site's parts")


def compose():
    folder = ROOT / "conf/compose"
    site = yaml.safe_load((folder / "compose.yaml").read_text())
    for name, service in site["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            must((folder / source).exists() if source.startswith(".") else source in site["volumes"], f"{name}: {source} is there")
        needs = service.get("depends_on", [])
        must(set(needs) <= set(site["services"]), f"{name} depends on services")
    scraped = {job["job_name"]: job["static_configs"][0]["targets"][0].split(":")[0]
               for job in yaml.safe_load((folder / "prometheus.yaml").read_text())["scrape_configs"]}
    must(set(scraped.values()) <= set(site["services"]) and "openclaw-edge" in scraped, "what is scraped is a service")


chart()
example()
compose()
print("shipped: good")

// Scheduled jobs of all gateways, and how their last runs went.

import { useMemo, useState } from "preact/hooks";
import { gateways, jobs, turn } from "../live";
import { Choice, Curl, Drawer, Facts, State, toneOf, When } from "../parts";
import type { Job } from "../rows";
import { type Column, Table } from "../table";
import { span } from "../time";

const nameOf = (id: string) => gateways.get(id)?.name ?? id;
const id = (job: Job) => `${job.gatewayId} ${job.id}`;

function stateOf(job: Job): string {
  if (job.runningAtMs) return "running";
  return job.enabled ? (job.lastRunStatus ?? "waiting") : "disabled";
}

/** When it runs, in words. */
function schedule(job: Job): string {
  const at = job.schedule ?? {};
  if (typeof at["everyMs"] === "number") return `every ${span(at["everyMs"])}`;
  const when = at["expr"] ?? at["cron"] ?? at["at"] ?? at["atMs"];
  return `${job.scheduleKind ?? ""} ${when === undefined ? "" : String(when)}`.trim();
}

const COLUMNS: Column<Job>[] = [
  { title: "State", width: "8.5rem", value: stateOf, cell: (job) => <State tone={toneOf(stateOf(job))}>{stateOf(job)}</State> },
  { title: "Job", width: "minmax(9rem, 2fr)", value: (job) => job.name || job.id },
  { title: "Gateway", width: "minmax(6rem, 1fr)", wide: true, value: (job) => nameOf(job.gatewayId) },
  { title: "Agent", width: "6rem", wide: true, value: (job) => job.effectiveAgentId ?? "" },
  { title: "Schedule", width: "minmax(8rem, 1fr)", wide: true, value: schedule },
  { title: "Next", width: "minmax(9rem, 1fr)", value: (job) => job.nextRunAtMs ?? 0, cell: (job) => <When ms={job.nextRunAtMs} /> },
  { title: "Last", width: "minmax(9rem, 1fr)", wide: true, value: (job) => job.lastRunAtMs ?? 0, cell: (job) => <When ms={job.lastRunAtMs} /> },
  { title: "Error", width: "minmax(8rem, 2fr)", wide: true, value: (job) => job.lastRunError ?? "" },
];

export function Jobs() {
  const [state, setState] = useState("");
  const [gateway, setGateway] = useState("");
  const [open, setOpen] = useState<string | null>(null);
  const rows = useMemo(
    () =>
      [...jobs.values()]
        .filter((job) => (!state || stateOf(job) === state) && (!gateway || job.gatewayId === gateway))
        .sort((one, other) => one.gatewayId.localeCompare(other.gatewayId) || one.name.localeCompare(other.name)),
    [turn.value, state, gateway],
  );
  const shown = open === null ? undefined : [...jobs.values()].find((job) => id(job) === open);
  return (
    <>
      <Table
        name="jobs"
        columns={COLUMNS}
        rows={rows}
        id={id}
        open={(job) => setOpen(id(job))}
        nothing="No gateway has a job yet."
      >
        <Choice label="State" of={["ok", "error", "skipped", "running", "waiting", "disabled"]} value={state} set={setState} />
        <Choice label="Gateway" of={[...gateways.keys()]} value={gateway} set={setGateway} />
      </Table>
      <Curl path="/api/jobs?limit=100" />
      {shown ? (
        <Drawer title={shown.name || shown.id} close={() => setOpen(null)}>
          <Facts
            of={[
              ["State", <State tone={toneOf(stateOf(shown))}>{stateOf(shown)}</State>],
              ["Error", shown.lastRunError],
              ["Gateway", nameOf(shown.gatewayId)],
              ["Agent", shown.effectiveAgentId],
              ["Schedule", schedule(shown)],
              ["Next run", <When ms={shown.nextRunAtMs} />],
              ["Last run", <When ms={shown.lastRunAtMs} />],
              ["Id", shown.id],
            ]}
          />
          <h3>Last runs</h3>
          {shown.runs?.length ? (
            <ol>
              {shown.runs.map((run) => (
                <li key={`${run.runId ?? ""} ${run.runAtMs ?? ""}`}>
                  <State tone={toneOf(run.status ?? "")}>{run.status ?? "?"}</State> <When ms={run.runAtMs} />{" "}
                  {run.durationMs ? <span class="dim">{span(run.durationMs)}</span> : null}
                  <p>{run.error ?? run.summary ?? ""}</p>
                </li>
              ))}
            </ol>
          ) : (
            <p class="dim">None is known.</p>
          )}
        </Drawer>
      ) : null}
    </>
  );
}

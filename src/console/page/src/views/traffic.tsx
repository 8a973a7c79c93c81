// What passed lately: by route, and what was refused and why; with quotas beside.

import { useEffect, useState } from "preact/hooks";
import { get } from "../api";
import { Curl } from "../parts";
import { type Column, Table } from "../table";
import { follow, type Part, type Point, type Series, SPANS, type Span, sum, traffic } from "../traffic";
import { span as length } from "../time";

/** A small plot: a bar for each stretch, its refused and failed part in another colour and hatched by height. */
function Plot({ points, label }: { points: Point[]; label: string }) {
  const most = Math.max(1, ...points.map((point) => point[0]));
  return (
    <svg class="plot" viewBox={`0 0 ${points.length} 20`} preserveAspectRatio="none" role="img" aria-label={label}>
      {points.map(([count, refused, failed], at) => {
        const height = (count / most) * 20;
        const bad = (Math.min(count, refused + failed) / most) * 20;
        return (
          <g key={at}>
            <rect class="all" x={at + 0.1} width={0.8} y={20 - height} height={height} />
            <rect class="bad" x={at + 0.1} width={0.8} y={20 - bad} height={bad} />
          </g>
        );
      })}
    </svg>
  );
}

interface Row {
  name: string;
  points: Point[];
  total: Point;
}

const SECONDS: Record<Span, number> = { minute: 60, hour: 3600, day: 86_400 };

function columns(span: Span, what: "route" | "cause"): Column<Row>[] {
  const plot: Column<Row> = {
    title: `Last ${span}`,
    width: "minmax(8rem, 2fr)",
    value: (row) => row.total[0],
    cell: (row) => (
      <Plot
        points={row.points}
        label={`${row.name}: ${row.total[0]} in the last ${span}, ${row.total[1]} refused, ${row.total[2]} failed`}
      />
    ),
  };
  const count: Column<Row> = { title: "Count", width: "6rem", value: (row) => row.total[0] };
  if (what === "cause") return [{ title: "What", width: "minmax(9rem, 2fr)", value: (row) => row.name }, plot, count];
  return [
    { title: "Route", width: "minmax(8rem, 1fr)", value: (row) => row.name },
    plot,
    count,
    {
      title: "A second",
      width: "6rem",
      wide: true,
      value: (row) => row.total[0] / SECONDS[span],
      cell: (row) => (row.total[0] / SECONDS[span]).toFixed(2),
    },
    { title: "Refused", width: "6rem", value: (row) => row.total[1] },
    { title: "Failed", width: "6rem", wide: true, value: (row) => row.total[2] },
    {
      title: "Mean time",
      width: "7rem",
      wide: true,
      value: (row) => (row.total[0] ? row.total[3] / row.total[0] / 1000 : 0),
      cell: (row) => (row.total[0] ? length(row.total[3] / row.total[0] / 1000) : ""),
    },
  ];
}

function rows(all: Record<string, Series>, span: Span): Row[] {
  return Object.entries(all)
    .map(([name, series]) => ({ name, points: series[span], total: sum(series[span]) }))
    .sort((one, other) => other.total[0] - one.total[0] || one.name.localeCompare(other.name));
}

const PARTS: [Part, string, string][] = [
  ["routes", "Requests by route", "Nothing has been asked of a route in the last day."],
  ["refusals", "Refusals by code", "Nothing was refused in the last day."],
  ["limits", "Refusals by limit", "No limit has refused anything in the last day."],
  ["signatures", "Signatures that did not hold, by reason", "None in the last day."],
];

interface Quota {
  quota: string;
  by: string;
  of: string;
  limit: number;
  per: number;
  spent: number;
  remaining: number;
  more_in: number;
}

function Quotas() {
  const [quotas, setQuotas] = useState<Quota[] | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  // A quota is spent by requests: it is looked at again when some have passed.
  const passed = traffic.value ? Object.values(traffic.value.routes).reduce((all, one) => all + sum(one.hour)[0], 0) : 0;
  const seen = Math.ceil(passed / 10);
  useEffect(() => {
    get<{ quotas: Quota[] }>("/api/quota").then(
      (told) => setQuotas(told.quotas),
      (error: unknown) => setProblem(error instanceof Error ? error.message : String(error)),
    );
  }, [seen]);
  if (problem) return <p role="alert">{problem}</p>;
  if (!quotas) return <p class="dim">Asking…</p>;
  if (quotas.length === 0) return <p class="dim">Nothing of a quota is spent, or there is none.</p>;
  return (
    <ul class="quotas">
      {quotas.map((one) => (
        <li key={`${one.quota} ${one.by} ${one.of}`}>
          <span>
            {one.quota} <span class="dim">of {one.by} {one.of}</span>
          </span>
          <meter min={0} max={one.limit} high={one.limit * 0.8} value={one.spent} aria-label={`${one.quota}: spent`} />
          <span>
            {one.spent} of {one.limit} in {length(one.per * 1000)}
          </span>
        </li>
      ))}
    </ul>
  );
}

export function Traffic() {
  const [span, setSpan] = useState<Span>("minute");
  useEffect(follow, []);
  const account = traffic.value;
  return (
    <div class="parts">
      <fieldset class="spans">
        <legend class="hidden">How far back</legend>
        {SPANS.map((one) => (
          <label key={one}>
            <input type="radio" name="span" checked={span === one} onChange={() => setSpan(one)} /> last {one}
          </label>
        ))}
      </fieldset>
      {account ? (
        PARTS.map(([part, title, nothing]) => (
          <section key={part}>
            <h2>{title}</h2>
            <Table
              name={part}
              columns={columns(span, part === "routes" ? "route" : "cause")}
              rows={rows(account[part], span)}
              id={(row) => row.name}
              nothing={nothing}
            />
          </section>
        ))
      ) : (
        <p class="loading">Asking the edge…</p>
      )}
      <section>
        <h2>Quotas</h2>
        <Quotas />
      </section>
      <Curl path="/api/traffic" />
    </div>
  );
}

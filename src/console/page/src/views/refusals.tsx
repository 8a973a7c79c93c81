// "Why was this refused?": the last refusals of the caller's tenant. A request's id goes into the search.

import { useEffect, useState } from "preact/hooks";
import { get } from "../api";
import { Curl, Drawer, Facts, State, When } from "../parts";
import { type Column, Table } from "../table";
import { follow, sum, traffic } from "../traffic";

interface Refusal {
  at: number;
  request: string;
  method: string;
  path: string;
  client: string | null;
  route: string | null;
  credential: string | null;
  status: number;
  code: string;
  error: string;
  detail: string | null;
  limits: { limit: string; remaining: number; refused: boolean }[];
}

const COLUMNS: Column<Refusal>[] = [
  { title: "Code", width: "minmax(8rem, 1fr)", value: (one) => one.code },
  { title: "Request", width: "minmax(9rem, 2fr)", value: (one) => `${one.method} ${one.path}` },
  { title: "At", width: "minmax(9rem, 1fr)", value: (one) => one.at, cell: (one) => <When ms={one.at} /> },
  { title: "Route", width: "minmax(6rem, 1fr)", wide: true, value: (one) => one.route ?? "" },
  { title: "Credential", width: "minmax(6rem, 1fr)", wide: true, value: (one) => one.credential ?? "" },
  { title: "Id", width: "minmax(6rem, 1fr)", wide: true, value: (one) => one.request },
];

export function Refusals() {
  const [rows, setRows] = useState<Refusal[] | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [open, setOpen] = useState<string | null>(null);
  useEffect(follow, []);
  // Asked for again when the edge tells that more were refused, and not on a timer.
  const all = Object.values(traffic.value?.refusals ?? {});
  const count = all.reduce((total, one) => total + sum(one.day)[0], 0);
  useEffect(() => {
    get<{ refusals: Refusal[] }>("/api/refusals").then(
      (told) => setRows(told.refusals),
      (error: unknown) => setProblem(error instanceof Error ? error.message : String(error)),
    );
  }, [count]);
  if (problem) return <p role="alert">{problem}</p>;
  if (!rows) return <p class="loading">Asking the edge…</p>;
  const shown = rows.find((one) => one.request === open);
  return (
    <>
      <Table
        name="refusals"
        columns={COLUMNS}
        rows={rows}
        id={(one) => one.request}
        open={(one) => setOpen(one.request)}
        nothing="Nothing of your tenant was refused since the edge was started."
      />
      <Curl path="/api/refusals" />
      {shown ? (
        <Drawer title={`Why: ${shown.code}`} close={() => setOpen(null)}>
          <Facts
            of={[
              ["Answer", `${shown.status} ${shown.error}`],
              ["Detail", shown.detail],
              ["Request", `${shown.method} ${shown.path}`],
              ["At", <When ms={shown.at} />],
              ["Id", shown.request],
              ["Client", shown.client],
              ["Route", shown.route],
              ["Credential", shown.credential],
            ]}
          />
          <h3>Limits that were asked</h3>
          {shown.limits.length > 0 ? (
            <ul>
              {shown.limits.map((one) => (
                <li key={one.limit}>
                  <State tone={one.refused ? "bad" : "good"}>{one.refused ? "refused" : "passed"}</State> {one.limit}{" "}
                  <span class="dim">{one.remaining} remaining</span>
                </li>
              ))}
            </ul>
          ) : (
            <p class="dim">None: it was refused before, or its route has none.</p>
          )}
        </Drawer>
      ) : null}
    </>
  );
}

// The caller's gateways: how each stands, and since when; in the drawer what it has.

import { useEffect, useMemo, useState } from "preact/hooks";
import { get } from "../api";
import { gateways, jobs, tasks, turn } from "../live";
import { Choice, Curl, Drawer, Facts, State, When } from "../parts";
import type { Gateway } from "../rows";
import { type Column, Table } from "../table";

interface Row extends Gateway {
  active: number;
  failing: number;
}

function stateOf(row: Gateway): string {
  if (row.connected) return "connected";
  return row.error?.code === "connecting" ? "connecting" : row.error?.code === "off" ? "off" : "away";
}

function Stands({ row }: { row: Gateway }) {
  const state = stateOf(row);
  const tone = state === "connected" ? "good" : state === "away" ? "bad" : "quiet";
  return <State tone={tone}>{state}</State>;
}

const COLUMNS: Column<Row>[] = [
  { title: "State", width: "8.5rem", value: stateOf, cell: (row) => <Stands row={row} /> },
  { title: "Gateway", width: "minmax(9rem, 2fr)", value: (row) => `${row.name} ${row.name === row.id ? "" : row.id}`.trim() },
  { title: "Version", width: "7rem", wide: true, value: (row) => row.version ?? "" },
  { title: "Since", width: "minmax(9rem, 1fr)", value: (row) => row.since ?? 0, cell: (row) => <When ms={row.since} /> },
  { title: "Running", width: "6rem", wide: true, value: (row) => row.active },
  { title: "Failing jobs", width: "7rem", wide: true, value: (row) => row.failing },
  { title: "Trouble", width: "minmax(8rem, 2fr)", wide: true, value: (row) => row.error?.error ?? "" },
];

/** What only one gateway's own pages tell. */
interface Status {
  agents: number | null;
  sessions: number | null;
  activeSessions: number | null;
  presence: number | null;
  asOf: number | null;
  health: { ok: boolean; degraded: boolean; reasons: string[]; pluginErrors: number } | null;
}

interface Details {
  agents: { id: string; name?: string; model?: string }[] | null;
  channels: string[] | null;
}

function Gateways() {
  const [state, setState] = useState("");
  const [open, setOpen] = useState<string | null>(null);
  const rows = useMemo(() => {
    const count = (map: Map<string, { gatewayId: string }>, fits: (row: never) => boolean) => {
      const counts = new Map<string, number>();
      for (const row of map.values()) {
        if (fits(row as never)) counts.set(row.gatewayId, (counts.get(row.gatewayId) ?? 0) + 1);
      }
      return counts;
    };
    const active = count(tasks, (row: { status: string }) => row.status === "running" || row.status === "queued");
    const failing = count(jobs, (row: { lastRunStatus?: string }) => row.lastRunStatus === "error");
    const all = [...gateways.values()].map((one) => ({
      ...one,
      active: active.get(one.id) ?? 0,
      failing: failing.get(one.id) ?? 0,
    }));
    return state ? all.filter((row) => stateOf(row) === state) : all;
  }, [turn.value, state]);
  const shown = open === null ? undefined : gateways.get(open);
  return (
    <>
      <Table
        name="gateways"
        columns={COLUMNS}
        rows={rows}
        id={(row) => row.id}
        open={(row) => setOpen(row.id)}
        nothing="Your tenant has no gateways yet. They are in the edge's config, under `gateways`."
      >
        <Choice label="State" of={["connected", "away", "connecting", "off"]} value={state} set={setState} />
      </Table>
      <Curl path="/api/gateways" />
      {shown ? <Sheet gateway={shown} close={() => setOpen(null)} /> : null}
    </>
  );
}

function Sheet({ gateway, close }: { gateway: Gateway; close: () => void }) {
  const [status, setStatus] = useState<Status | null>(null);
  const [details, setDetails] = useState<Details | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  // Asked for again when it comes or goes, and not on a timer.
  useEffect(() => {
    const path = `/api/gateways/${encodeURIComponent(gateway.id)}`;
    Promise.all([get<Status>(`${path}/status`), get<Details>(path)]).then(
      ([status, details]) => {
        setStatus(status);
        setDetails(details);
        setProblem(null);
      },
      (error: unknown) => setProblem(error instanceof Error ? error.message : String(error)),
    );
  }, [gateway.id, gateway.connected, turn.value]);
  const health = status?.health;
  return (
    <Drawer title={gateway.name} close={close}>
      {problem ? <p role="alert">{problem}</p> : null}
      <Facts
        of={[
          ["State", <Stands row={gateway} />],
          ["Trouble", gateway.error ? `${gateway.error.error} (${gateway.error.code})` : null],
          ["Since", <When ms={gateway.since} />],
          ["Last heard of", <When ms={status?.asOf ?? gateway.asOf} />],
          ["Id", gateway.id],
          ["Version", gateway.version],
          ["Protocol", gateway.protocol],
          ["WebSocket", gateway.wsUrl],
          ["Control UI", gateway.controlUiUrl],
          ["Health", health ? (health.ok ? (health.degraded ? `degraded: ${health.reasons.join(", ")}` : "well") : "not well") : null],
          ["Plugins that failed", health?.pluginErrors],
          ["Sessions", status?.sessions === null ? null : `${status?.sessions ?? "…"} (${status?.activeSessions ?? "…"} active)`],
          ["Clients and devices", status?.presence],
        ]}
      />
      <h3>Agents</h3>
      {details?.agents?.length ? (
        <ul>
          {details.agents.map((agent) => (
            <li key={agent.id}>
              {agent.name ?? agent.id} <span class="dim">{[agent.name ? agent.id : "", agent.model].filter(Boolean).join(" · ")}</span>
            </li>
          ))}
        </ul>
      ) : (
        <p class="dim">{details ? "None is known." : "Asking…"}</p>
      )}
      <h3>Channels</h3>
      {details?.channels?.length ? (
        <ul>
          {details.channels.map((channel) => (
            <li key={channel}>{channel}</li>
          ))}
        </ul>
      ) : (
        <p class="dim">{details ? "None is known." : "Asking…"}</p>
      )}
      <Curl path={`/api/gateways/${encodeURIComponent(gateway.id)}/status`} />
    </Drawer>
  );
}

export { Gateways };

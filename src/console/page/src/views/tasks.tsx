// Background tasks of all gateways.

import { useMemo, useState } from "preact/hooks";
import { gateways, tasks, turn } from "../live";
import { Choice, Curl, Drawer, Facts, State, toneOf, When } from "../parts";
import type { Task } from "../rows";
import { type Column, Table } from "../table";
import { span } from "../time";

const nameOf = (id: string) => gateways.get(id)?.name ?? id;
const took = (task: Task) => (task.startedAt && task.endedAt ? task.endedAt - task.startedAt : 0);
const last = (task: Task) => task.error ?? task.terminalSummary ?? task.progressSummary ?? "";

const COLUMNS: Column<Task>[] = [
  {
    title: "Status",
    width: "8.5rem",
    value: (task) => task.status,
    cell: (task) => <State tone={toneOf(task.status)}>{task.status}</State>,
  },
  { title: "Task", width: "minmax(9rem, 2fr)", value: (task) => task.title ?? task.id },
  { title: "Gateway", width: "minmax(6rem, 1fr)", wide: true, value: (task) => nameOf(task.gatewayId) },
  { title: "Agent", width: "6rem", wide: true, value: (task) => task.agentId ?? "" },
  { title: "Changed", width: "minmax(9rem, 1fr)", value: (task) => task.updatedAt, cell: (task) => <When ms={task.updatedAt} /> },
  { title: "Took", width: "6rem", wide: true, value: took, cell: (task) => (took(task) ? span(took(task)) : "") },
  { title: "Last word", width: "minmax(8rem, 2fr)", wide: true, value: last },
];

const id = (task: Task) => `${task.gatewayId} ${task.id}`;

export function Tasks() {
  const [status, setStatus] = useState("");
  const [gateway, setGateway] = useState("");
  const [open, setOpen] = useState<string | null>(null);
  const rows = useMemo(
    () =>
      [...tasks.values()]
        .filter((task) => (!status || task.status === status) && (!gateway || task.gatewayId === gateway))
        .sort((one, other) => other.createdAt - one.createdAt),
    [turn.value, status, gateway],
  );
  const shown = open === null ? undefined : [...tasks.values()].find((task) => id(task) === open);
  return (
    <>
      <Table
        name="tasks"
        columns={COLUMNS}
        rows={rows}
        id={id}
        open={(task) => setOpen(id(task))}
        nothing="No gateway has told of a task yet. They appear here as soon as one begins."
      >
        <Choice
          label="Status"
          of={["queued", "running", "completed", "failed", "cancelled", "timed_out"]}
          value={status}
          set={setStatus}
        />
        <Choice label="Gateway" of={[...gateways.keys()]} value={gateway} set={setGateway} />
      </Table>
      <Curl path="/api/tasks?limit=100" />
      {shown ? (
        <Drawer title={shown.title ?? shown.id} close={() => setOpen(null)}>
          <Facts
            of={[
              ["Status", <State tone={toneOf(shown.status)}>{shown.status}</State>],
              ["Error", shown.error],
              ["Progress", shown.progressSummary],
              ["Outcome", shown.terminalSummary],
              ["Gateway", nameOf(shown.gatewayId)],
              ["Agent", shown.agentId],
              ["Kind", shown.kind],
              ["Run by", shown.runtime],
              ["Created", <When ms={shown.createdAt} />],
              ["Started", <When ms={shown.startedAt} />],
              ["Ended", <When ms={shown.endedAt} />],
              ["Took", took(shown) ? span(took(shown)) : null],
              ["Id", shown.id],
              ["Comes from", shown.sourceId],
              ["Session", shown.sessionKey],
              ["Run", shown.runId],
            ]}
          />
          <Curl path={`/api/tasks?gateway=${encodeURIComponent(shown.gatewayId)}&status=${encodeURIComponent(shown.status)}`} />
        </Drawer>
      ) : null}
    </>
  );
}

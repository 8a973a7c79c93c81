// What has happened at the caller's gateways since the page was opened.

import { useMemo, useState } from "preact/hooks";
import { gateways, happenings, turn } from "../live";
import { Choice, Curl, When } from "../parts";
import type { Happening } from "../rows";
import { type Column, Table } from "../table";

const COLUMNS: Column<Happening>[] = [
  { title: "At", width: "minmax(9rem, 1fr)", value: (one) => one.at, cell: (one) => <When ms={one.at} /> },
  { title: "Gateway", width: "minmax(6rem, 1fr)", value: (one) => gateways.get(one.gatewayId)?.name ?? one.gatewayId },
  { title: "What", width: "6rem", value: (one) => one.what },
  { title: "About", width: "minmax(9rem, 3fr)", wide: true, value: (one) => one.about },
];

export function Events() {
  const [what, setWhat] = useState("");
  const rows = useMemo(() => happenings.filter((one) => !what || one.what === what).reverse(), [turn.value, what]);
  return (
    <>
      <Table
        name="events"
        columns={COLUMNS}
        rows={rows}
        id={(one) => String(one.number)}
        nothing="Nothing has happened since this page was opened."
      >
        <Choice label="What" of={["gateway", "task", "job", "run", "health", "presence"]} value={what} set={setWhat} />
      </Table>
      <Curl path="/api/events" />
    </>
  );
}

// The credentials of the caller's tenant: when each ends, and when it was last taken. Of keys nothing.

import { useEffect, useState } from "preact/hooks";
import { get } from "../api";
import { Curl, State, When } from "../parts";
import { type Column, Table } from "../table";
import { now } from "../time";

interface Credential {
  id: string;
  key: string;
  node: string | null;
  /** Unix seconds. */
  begins: number | null;
  expires: number | null;
  lastUsed: number | null;
}

const SOON = 14 * 86_400_000;

function stateOf(one: Credential): "in force" | "not yet" | "ends soon" | "ended" {
  if (one.begins && one.begins * 1000 > now.value) return "not yet";
  if (one.expires === null) return "in force";
  const left = one.expires * 1000 - now.value;
  return left <= 0 ? "ended" : left < SOON ? "ends soon" : "in force";
}

const TONES = { "in force": "good", "not yet": "quiet", "ends soon": "warn", ended: "bad" } as const;

const COLUMNS: Column<Credential>[] = [
  { title: "State", width: "8.5rem", value: stateOf, cell: (one) => <State tone={TONES[stateOf(one)]}>{stateOf(one)}</State> },
  { title: "Credential", width: "minmax(8rem, 2fr)", value: (one) => one.id },
  { title: "Key", width: "6rem", wide: true, value: (one) => one.key },
  { title: "Node", width: "minmax(5rem, 1fr)", wide: true, value: (one) => one.node ?? "" },
  { title: "Ends", width: "minmax(9rem, 1fr)", value: (one) => one.expires ?? 0, cell: (one) => <When ms={one.expires && one.expires * 1000} /> },
  { title: "Last taken", width: "minmax(9rem, 1fr)", wide: true, value: (one) => one.lastUsed ?? 0, cell: (one) => <When ms={one.lastUsed && one.lastUsed * 1000} /> },
];

export function Credentials() {
  const [rows, setRows] = useState<Credential[] | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => {
    get<{ credentials: Credential[] }>("/api/credentials").then(
      (told) => setRows(told.credentials),
      (error: unknown) => setProblem(error instanceof Error ? error.message : String(error)),
    );
  }, []);
  if (problem) return <p role="alert">{problem}</p>;
  if (!rows) return <p class="loading">Asking the edge…</p>;
  return (
    <>
      <Table name="credentials" columns={COLUMNS} rows={rows} id={(one) => `${one.id} ${one.key}`} nothing="Your tenant has none." />
      <Curl path="/api/credentials" />
    </>
  );
}

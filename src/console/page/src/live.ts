// What the edge knows of the caller's gateways, kept up to date: lists once, then `/api/events`, and lists again
// where the edge says that something was missed. Nothing is asked for on a timer.

import { signal } from "@preact/signals";
import { get, look, session } from "./api";
import type { Gateway, Happening, Job, Run, Task } from "./rows";

/** How the page stands with the edge. */
export type Line = { is: "connecting" } | { is: "live" } | { is: "lost"; since: number };

export const line = signal<Line>({ is: "connecting" });
/** Changes whenever something below has: readers look at it, and then at the maps. */
export const turn = signal(0);
/** False until the first lists are there. */
export const listed = signal(false);
/** Why a list could not be had. */
export const failed = signal<string | null>(null);

export const gateways = new Map<string, Gateway>();
export const tasks = new Map<string, Task>();
export const jobs = new Map<string, Job>();
export const happenings: Happening[] = [];

/** Most rows of each list that are kept; beyond them the oldest are left out, and the page says so. */
export const MOST_ROWS = 20_000;
const MOST_HAPPENINGS = 1000;
const PAGE = 500;
const RUNS = 5;

/** Views are drawn at most this often. */
const DRAW_MS = 100;
let drawing = false;

function changed(): void {
  if (drawing) return;
  drawing = true;
  setTimeout(() => {
    drawing = false;
    turn.value += 1;
  }, DRAW_MS);
}

const key = (gateway: string, id: string) => `${gateway}\n${id}`;

interface Page {
  nextCursor: string | null;
  tasks?: Task[];
  jobs?: Job[];
}

/** All pages of a list. */
async function all<Row>(path: string, rows: (page: Page) => Row[]): Promise<Row[]> {
  const found: Row[] = [];
  let cursor: string | null = null;
  do {
    const next: string = cursor ? `&cursor=${encodeURIComponent(cursor)}` : "";
    const page: Page = await get<Page>(`${path}${next}`);
    found.push(...rows(page));
    cursor = page.nextCursor;
  } while (cursor && found.length < MOST_ROWS);
  return found;
}

/** Rows that events have told of, for each list that is on its way: what an event says is newer. */
const underway = new Set<Set<string>>();

/** Asks for a list, and puts its rows in the place of those of the same gateways. */
async function renew<Row extends { gatewayId: string; id: string }>(
  map: Map<string, Row>,
  only: string | null,
  ask: () => Promise<Row[]>,
): Promise<void> {
  const heard = new Set<string>();
  underway.add(heard);
  try {
    const rows = await ask();
    for (const [name, row] of map) {
      if ((only === null || row.gatewayId === only) && !heard.has(name)) map.delete(name);
    }
    for (const row of rows) {
      const name = key(row.gatewayId, row.id);
      if (!heard.has(name)) map.set(name, row);
    }
  } finally {
    underway.delete(heard);
  }
}

function hear(name: string): void {
  for (const heard of underway) heard.add(name);
}

async function listGateways(): Promise<void> {
  const told = await get<{ gateways: Gateway[] }>("/api/gateways");
  const known = new Map(gateways);
  gateways.clear();
  for (const one of told.gateways) gateways.set(one.id, { ...known.get(one.id), ...one });
}

async function listTasks(only: string | null): Promise<void> {
  const of = only === null ? "" : `&gateway=${encodeURIComponent(only)}`;
  await renew(tasks, only, () => all(`/api/tasks?limit=${PAGE}${of}`, (page) => page.tasks ?? []));
}

async function listJobs(only: string | null): Promise<void> {
  const of = only === null ? "" : `&gateway=${encodeURIComponent(only)}`;
  await renew(jobs, only, () => all(`/api/jobs?limit=${PAGE}&runs=${RUNS}${of}`, (page) => page.jobs ?? []));
}

async function listAll(): Promise<void> {
  try {
    await Promise.all([listGateways(), listTasks(null), listJobs(null)]);
    failed.value = null;
  } catch (error) {
    failed.value = error instanceof Error ? error.message : String(error);
  }
  listed.value = true;
  changed();
}

/** Gateways whose lists are to be asked for again; together, since a restart of the edge tells all at once. */
const stale = new Map<string, Set<"tasks" | "jobs">>();
let asking: ReturnType<typeof setTimeout> | undefined;
const GATHER_MS = 250;
/** From this many on, one question for all is less than one for each. */
const MANY = 4;

function again(gateway: string, what: "tasks" | "jobs"): void {
  const known = stale.get(gateway);
  if (known) known.add(what);
  else stale.set(gateway, new Set([what]));
  asking ??= setTimeout(() => void askAgain(), GATHER_MS);
}

async function askAgain(): Promise<void> {
  asking = undefined;
  const wanted = [...stale];
  stale.clear();
  if (wanted.length >= MANY) return listAll();
  try {
    for (const [gateway, lists] of wanted) {
      if (lists.has("tasks")) await listTasks(gateway);
      if (lists.has("jobs")) await listJobs(gateway);
    }
  } catch (error) {
    failed.value = error instanceof Error ? error.message : String(error);
  }
  changed();
}

function remember(gatewayId: string, what: string, about: string): void {
  const number = (happenings.at(-1)?.number ?? 0) + 1;
  happenings.push({ number, at: Date.now(), gatewayId, what, about });
  if (happenings.length > MOST_HAPPENINGS) happenings.shift();
}

type Told = Record<string, unknown> & { gatewayId: string };

/** Puts one event in its place. */
function take(what: string, told: Told): void {
  const gateway = told.gatewayId;
  switch (what) {
    case "gateway": {
      const known = gateways.get(gateway);
      const stands = told as unknown as Partial<Gateway> & { code?: string; error?: unknown };
      // At the start an event has the whole of it, later what has changed.
      const error =
        typeof stands.error === "string"
          ? { gatewayId: gateway, code: String(stands.code ?? ""), error: stands.error }
          : ((stands.error as Gateway["error"]) ?? null);
      const since = stands.since ?? (stands.connected === known?.connected ? known?.since : Date.now());
      const next = { ...known, ...stands, since: since ?? null, error };
      gateways.set(gateway, { wsUrl: null, controlUiUrl: null, name: gateway, ...next, id: gateway });
      if (known?.connected !== stands.connected) {
        remember(gateway, "gateway", stands.connected ? "connected" : `away: ${error?.error ?? "unknown"}`);
      }
      if (!known && listed.value) void listGateways().then(changed, () => undefined);
      break;
    }
    case "task": {
      const task = told as unknown as Task & { deleted?: boolean };
      const place = key(gateway, task.id);
      hear(place);
      if (task.deleted) tasks.delete(place);
      else tasks.set(place, task);
      remember(gateway, "task", task.deleted ? `${task.id} is gone` : `${task.title ?? task.id}: ${task.status}`);
      break;
    }
    case "job": {
      const job = told as unknown as Job & { deleted?: boolean };
      const place = key(gateway, job.id);
      hear(place);
      const runs = jobs.get(place)?.runs ?? [];
      if (job.deleted) jobs.delete(place);
      else jobs.set(place, { ...job, runs });
      remember(gateway, "job", job.deleted ? `${job.id} is gone` : job.name);
      break;
    }
    case "run": {
      const run = told as unknown as Run;
      const place = key(gateway, run.jobId);
      const job = jobs.get(place);
      if (job) jobs.set(place, { ...job, runs: [run, ...(job.runs ?? [])].slice(0, RUNS) });
      remember(gateway, "run", `${job?.name ?? run.jobId}: ${run.status ?? "ended"}`);
      break;
    }
    case "health":
      remember(gateway, "health", told["ok"] === false ? "not well" : "well");
      break;
    case "presence":
      remember(gateway, "presence", `${String(told["connected"])} connected`);
      break;
    case "listed":
      if (told["method"] === "tasks.list") again(gateway, "tasks");
      if (told["method"] === "cron.list" || told["method"] === "cron.runs") again(gateway, "jobs");
      break;
  }
  changed();
}

const KINDS = ["gateway", "task", "job", "run", "health", "presence", "listed"];

let source: EventSource | null = null;
let comeBack: ReturnType<typeof setTimeout> | undefined;
let tries = 0;

function lost(): void {
  if (line.value.is !== "lost") line.value = { is: "lost", since: Date.now() };
}

/** Begins to follow; ends what was followed before. */
export function follow(): void {
  leave();
  line.value = { is: "connecting" };
  open();
}

function open(): void {
  const stream = new EventSource("/api/events");
  source = stream;
  stream.onopen = () => {
    tries = 0;
    line.value = { is: "live" };
    void listAll();
  };
  stream.onerror = () => {
    lost();
    // A browser comes back by itself from a line that broke, and not from an answer that is no stream.
    if (stream.readyState !== EventSource.CLOSED) return;
    stream.close();
    tries += 1;
    comeBack = setTimeout(() => {
      void look().then(() => {
        if (session.value && source === stream) open();
      });
    }, Math.min(15_000, 500 * 2 ** tries));
  };
  for (const kind of KINDS) {
    stream.addEventListener(kind, (event) => take(kind, JSON.parse((event as MessageEvent<string>).data) as Told));
  }
  stream.addEventListener("missed", () => void listAll());
}

/** Stops, and forgets what was known: the next reader may be another. */
export function leave(): void {
  source?.close();
  source = null;
  clearTimeout(comeBack);
  clearTimeout(asking);
  asking = undefined;
  stale.clear();
  for (const map of [gateways, tasks, jobs]) map.clear();
  happenings.length = 0;
  listed.value = false;
  failed.value = null;
  turn.value += 1;
}

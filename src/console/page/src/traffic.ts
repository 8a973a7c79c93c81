// What passed lately, as `/api/traffic` tells it: all of it once, and then each second.

import { signal } from "@preact/signals";

/** `[count, refused, failed with 5xx, microseconds]` of one stretch. */
export type Point = [number, number, number, number];

export const SPANS = ["minute", "hour", "day"] as const;
export type Span = (typeof SPANS)[number];
export type Series = Record<Span, Point[]>;

export const PARTS = ["routes", "refusals", "limits", "signatures"] as const;
export type Part = (typeof PARTS)[number];
export type Account = { at: number } & Record<Part, Record<string, Series>>;

/** Seconds of a stretch, and how many there are: as the edge keeps them. */
const SHAPE: Record<Span, [number, number]> = { minute: [1, 60], hour: [60, 60], day: [900, 96] };

export const traffic = signal<Account | null>(null);

const none = (): Point => [0, 0, 0, 0];

function empty(): Series {
  const points = (span: Span) => Array.from({ length: SHAPE[span][1] }, none);
  return { minute: points("minute"), hour: points("hour"), day: points("day") };
}

/** Moves every series on to a second. */
function move(account: Account, to: number): void {
  for (const span of SPANS) {
    const [length, most] = SHAPE[span];
    const steps = Math.min(most, Math.floor(to / length) - Math.floor(account.at / length));
    if (steps <= 0) continue;
    for (const part of PARTS) {
      for (const series of Object.values(account[part])) {
        for (let step = 0; step < steps; step += 1) {
          series[span].shift();
          series[span].push(none());
        }
      }
    }
  }
  account.at = Math.max(account.at, to);
}

type Second = { at: number } & Partial<Record<Part, Record<string, Point>>>;

/** Adds what passed in a second. */
export function add(account: Account, second: Second): void {
  move(account, second.at);
  for (const part of PARTS) {
    for (const [name, point] of Object.entries(second[part] ?? {})) {
      const series = (account[part][name] ??= empty());
      for (const span of SPANS) {
        const last = series[span].at(-1);
        if (last) point.forEach((value, at) => (last[at] = (last[at] ?? 0) + value));
      }
    }
  }
}

let source: EventSource | null = null;

/** Follows until the function that it gives is called. */
export function follow(): () => void {
  // A reader of server-sent events says `Accept: text/event-stream` by itself.
  const stream = new EventSource("/api/traffic");
  source = stream;
  stream.addEventListener("all", (event) => {
    traffic.value = JSON.parse((event as MessageEvent<string>).data) as Account;
  });
  stream.addEventListener("second", (event) => {
    const account = traffic.value;
    if (!account) return;
    add(account, JSON.parse((event as MessageEvent<string>).data) as Second);
    traffic.value = { ...account };
  });
  return () => {
    stream.close();
    if (source === stream) traffic.value = null;
  };
}

/** A series in sum. */
export function sum(points: Point[]): Point {
  return points.reduce((all, point) => all.map((value, at) => value + (point[at] ?? 0)) as Point, none());
}

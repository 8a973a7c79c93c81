// Times, in the reader's own zone and words.

import { signal } from "@preact/signals";

/** Moves on every ten seconds, so that "2 minutes ago" stays true. */
export const now = signal(Date.now());
setInterval(() => (now.value = Date.now()), 10_000);

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });

/** The whole of a moment: date, time. */
export function moment(ms: number): string {
  return day.format(ms);
}

/** The time of a moment of today, else with its date. */
export function short(ms: number): string {
  return new Date(ms).toDateString() === new Date().toDateString() ? clock.format(ms) : day.format(ms);
}

const STEPS: [number, Intl.RelativeTimeFormatUnit][] = [
  [86_400_000, "day"],
  [3_600_000, "hour"],
  [60_000, "minute"],
  [1000, "second"],
];

/** How long ago, or in how long. */
export function ago(ms: number, then = now.value): string {
  const apart = ms - then;
  for (const [length, unit] of STEPS) {
    if (Math.abs(apart) >= length) return relative.format(Math.trunc(apart / length), unit);
  }
  return relative.format(0, "second");
}

/** A length of time. */
export function span(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ${Math.floor((ms % 60_000) / 1000)} s`;
  return `${Math.floor(ms / 3_600_000)} h ${Math.floor((ms % 3_600_000) / 60_000)} min`;
}

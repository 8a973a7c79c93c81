// Small pieces that all views are made of.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ago, moment, now, short } from "./time";

type Tone = "good" | "bad" | "busy" | "quiet" | "warn";

const SIGNS: Record<Tone, string> = { good: "✓", bad: "✕", busy: "▸", quiet: "○", warn: "!" };

/** A state: a sign and a word, and colour only besides. */
export function State({ tone, children }: { tone: Tone; children: ComponentChildren }): JSX.Element {
  return (
    <span class={`state ${tone}`}>
      <span class="sign" aria-hidden="true">
        {SIGNS[tone]}
      </span>
      {children}
    </span>
  );
}

const TONES: Record<string, Tone> = {
  completed: "good",
  ok: "good",
  succeeded: "good",
  running: "busy",
  queued: "quiet",
  waiting: "quiet",
  failed: "bad",
  error: "bad",
  timed_out: "bad",
  cancelled: "warn",
  skipped: "warn",
  disabled: "quiet",
};

export function toneOf(status: string): Tone {
  return TONES[status] ?? "quiet";
}

/** A moment: how long ago, and on pointing at it the whole of it. */
export function When({ ms }: { ms: number | null | undefined }): JSX.Element {
  if (!ms) return <span class="dim">–</span>;
  return (
    <time dateTime={new Date(ms).toISOString()} title={moment(ms)}>
      {short(ms)} <span class="dim">{ago(ms, Math.max(now.value, Math.min(ms, Date.now())))}</span>
    </time>
  );
}

/** A sheet over the page with all that is known of one thing. Escape closes it, and focus goes back. */
export function Drawer(props: { title: string; close: () => void; children: ComponentChildren }): JSX.Element {
  const sheet = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    sheet.current?.showModal();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog ref={sheet} class="drawer" aria-labelledby="drawer-title" onClose={props.close}>
      <header>
        <h2 id="drawer-title">{props.title}</h2>
        <button type="button" onClick={() => sheet.current?.close()}>
          Close
        </button>
      </header>
      <div class="inside">{props.children}</div>
    </dialog>
  );
}

/** Names and what they stand for; what is not known is left out. */
export function Facts({ of }: { of: [string, ComponentChildren][] }): JSX.Element {
  const known = of.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return (
    <dl class="facts">
      {known.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** The call behind a view, ready to be pasted into a terminal; the key stays a variable. */
export function Curl({ path }: { path: string }): JSX.Element {
  const [copied, setCopied] = useState(false);
  const text = `curl -H "X-API-Key: $EDGE_KEY" "${location.origin}${path}"`;
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
  };
  return (
    <details class="curl">
      <summary>API</summary>
      <p>
        <code>{text}</code>
      </p>
      {navigator.clipboard ? (
        <button type="button" onClick={() => void copy()}>
          {copied ? "Copied" : "Copy"}
        </button>
      ) : null}
    </details>
  );
}

/** Which of several, or any. */
export function Choice(props: {
  label: string;
  of: string[];
  value: string;
  set: (value: string) => void;
}): JSX.Element {
  return (
    <label class="choice">
      {props.label}
      <select value={props.value} onChange={(event) => props.set(event.currentTarget.value)}>
        <option value="">any</option>
        {props.of.map((one) => (
          <option key={one} value={one}>
            {one}
          </option>
        ))}
      </select>
    </label>
  );
}

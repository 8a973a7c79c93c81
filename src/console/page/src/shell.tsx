// The frame around all views: where one can go, who is there, and whether what is shown is live.

import { signal } from "@preact/signals";
import type { FunctionComponent } from "preact";
import { session, signOut } from "./api";
import { failed, line, listed } from "./live";
import { State } from "./parts";
import { short } from "./time";
import { asTheme, choose, theme } from "./theme";
import { approvals } from "./mux";
import { Approvals } from "./views/approvals";
import { Credentials } from "./views/credentials";
import { Events } from "./views/events";
import { Gateways } from "./views/gateways";
import { Jobs } from "./views/jobs";
import { Refusals } from "./views/refusals";
import { Tasks } from "./views/tasks";
import { Traffic } from "./views/traffic";

interface View {
  path: string;
  title: string;
  show: FunctionComponent;
}

const VIEWS: View[] = [
  { path: "gateways", title: "Gateways", show: Gateways },
  { path: "tasks", title: "Tasks", show: Tasks },
  { path: "jobs", title: "Jobs", show: Jobs },
  { path: "approvals", title: "Approvals", show: Approvals },
  { path: "traffic", title: "Traffic", show: Traffic },
  { path: "refused", title: "Refused", show: Refusals },
  { path: "credentials", title: "Credentials", show: Credentials },
  { path: "events", title: "Events", show: Events },
];

const place = signal(location.hash);
addEventListener("hashchange", () => (place.value = location.hash));

function Line() {
  const stands = line.value;
  if (stands.is === "live") return <State tone="good">live</State>;
  if (stands.is === "connecting") return <State tone="quiet">connecting</State>;
  return <State tone="bad">disconnected</State>;
}

function Notice() {
  const stands = line.value;
  if (stands.is === "lost") {
    return (
      <p class="notice" role="alert">
        The edge does not answer since {short(stands.since)}. What you see is as of then; the page comes back by itself.
      </p>
    );
  }
  if (failed.value) {
    return (
      <p class="notice" role="alert">
        A list could not be had: {failed.value}
      </p>
    );
  }
  return null;
}

export function Shell() {
  const who = session.value;
  const path = place.value.replace(/^#\//, "");
  const view = VIEWS.find((one) => one.path === path) ?? (VIEWS[0] as View);
  const Show = view.show;
  const isStale = line.value.is === "lost";
  return (
    <div class="shell">
      <header class="top">
        <a class="skip" href={`#/${view.path}`} onClick={() => document.getElementById("view")?.focus()}>
          Skip to {view.title}
        </a>
        <strong>OpenClaw Edge</strong>
        <nav aria-label="Views">
          {VIEWS.map((one) => (
            <a key={one.path} href={`#/${one.path}`} aria-current={one === view ? "page" : undefined}>
              {one.title}
              {one.show === Approvals && approvals.value.size > 0 ? ` (${approvals.value.size})` : ""}
            </a>
          ))}
        </nav>
        <div class="who">
          <span role="status" aria-live="polite">
            <Line />
          </span>
          <span>
            {who?.tenant}
            {who?.node ? ` / ${who.node}` : ""}
          </span>
          <label class="choice">
            <span class="hidden">Theme</span>
            <select value={theme.value} onChange={(event) => choose(asTheme(event.currentTarget.value))}>
              <option value="system">System</option>
              <option value="light">Light</option>
              <option value="dark">Dark</option>
            </select>
          </label>
          <button type="button" onClick={() => void signOut()}>
            Sign out
          </button>
        </div>
      </header>
      <main id="view" tabIndex={-1} class={isStale ? "stale" : ""} aria-busy={!listed.value}>
        <Notice />
        <h1>{view.title}</h1>
        {listed.value ? <Show key={view.path} /> : <p class="loading">Asking the edge…</p>}
      </main>
    </div>
  );
}

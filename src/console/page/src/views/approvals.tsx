// What waits for somebody's decision: what exactly is asked, and the decision.

import { useState } from "preact/hooks";
import { may } from "../api";
import { gateways } from "../live";
import { type Approval, approvals, type Decision, decide, nameOf, socketOpen } from "../mux";
import { Facts, State, When } from "../parts";
import { now } from "../time";

const WORDS: Record<Decision, string> = {
  "allow-once": "Approve once",
  "allow-always": "Approve always",
  deny: "Deny",
};

const isDecision = (word: unknown): word is Decision => typeof word === "string" && word in WORDS;

/** The gateway says which decisions it takes; where it does not, once or not at all. */
function decisions(approval: Approval): Decision[] {
  const allowed = approval.request["allowedDecisions"];
  const all = Array.isArray(allowed) ? allowed.filter(isDecision) : [];
  return all.length > 0 ? all : ["allow-once", "deny"];
}

function said(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** What a reader decides by, first; then all else that the gateway tells. */
const FIRST = ["command", "cwd", "host", "agentId", "sessionKey"];

function Request({ approval }: { approval: Approval }) {
  const [busy, setBusy] = useState<Decision | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const choose = async (decision: Decision) => {
    setBusy(decision);
    setProblem(null);
    try {
      await decide(approval, decision);
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
    setBusy(null);
  };
  const { request } = approval;
  const isOver = approval.expiresAtMs !== undefined && approval.expiresAtMs < now.value;
  const rest = Object.keys(request).filter((name) => !FIRST.includes(name) && name !== "allowedDecisions");
  const known = (names: string[]) =>
    names
      .filter((name) => request[name] !== undefined && request[name] !== null)
      .map((name): [string, string] => [name, said(request[name])]);
  const name = gateways.get(approval.gatewayId)?.name ?? approval.gatewayId;
  return (
    <li class="approval" aria-label={`Approval at ${name}`}>
      <p>
        <State tone={isOver ? "quiet" : "warn"}>{isOver ? "expired" : "waiting"}</State> at {name}, asked{" "}
        <When ms={approval.createdAtMs} />
        {approval.expiresAtMs ? (
          <>
            , until <When ms={approval.expiresAtMs} />
          </>
        ) : null}
      </p>
      <pre>{said(request["command"])}</pre>
      <Facts of={known(FIRST.slice(1))} />
      <details>
        <summary>All that is asked</summary>
        <Facts of={known(rest)} />
      </details>
      {problem ? (
        <p role="alert" class="problem">
          {problem}
        </p>
      ) : null}
      <p class="decisions">
        {decisions(approval).map((decision) => (
          <button
            key={decision}
            type="button"
            class={decision === "deny" ? "" : "primary"}
            disabled={busy !== null || isOver}
            onClick={() => void choose(decision)}
          >
            {WORDS[decision]}
          </button>
        ))}
      </p>
    </li>
  );
}

export function Approvals() {
  if (!may("operator.approvals")) {
    return <p class="dim">Your key does not decide on approvals: that takes the scope operator.approvals.</p>;
  }
  if (!socketOpen.value) return <p class="loading">Opening the socket for all gateways…</p>;
  const all = [...approvals.value.values()].sort((one, other) => (one.createdAtMs ?? 0) - (other.createdAtMs ?? 0));
  if (all.length === 0) return <p class="dim">Nothing waits for a decision. What does appears here by itself.</p>;
  return (
    <ul class="approvals">
      {all.map((one) => (
        <Request key={nameOf(one)} approval={one} />
      ))}
    </ul>
  );
}

// Asks for a key or a token. It goes to the edge once, which gives a session for it; the page keeps neither.

import { useState } from "preact/hooks";
import { ended, Refused, signIn } from "./api";

function said(error: unknown): string {
  if (error instanceof Refused && error.status === 401) return "The edge does not take this key.";
  if (error instanceof Refused && error.status === 404) return "This edge gives no sessions: its config has no such route.";
  if (error instanceof Refused) return `${error.message} (${error.code})`;
  return "The edge does not answer.";
}

export function SignIn() {
  const [secret, setSecret] = useState("");
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      await signIn(secret.trim());
    } catch (error) {
      setProblem(said(error));
    }
    setBusy(false);
  };
  return (
    <main class="hello">
      <form onSubmit={(event) => void submit(event)} aria-labelledby="sign-in">
        <h1 id="sign-in">OpenClaw Edge</h1>
        {ended.value ? <p role="status">{ended.value}</p> : null}
        <label for="secret">API key or token</label>
        <input
          id="secret"
          type="password"
          autocomplete="current-password"
          required
          autofocus
          value={secret}
          aria-invalid={problem !== null}
          aria-describedby={problem ? "problem" : undefined}
          onInput={(event) => setSecret(event.currentTarget.value)}
        />
        {problem ? (
          <p id="problem" role="alert" class="problem">
            {problem}
          </p>
        ) : null}
        <button type="submit" disabled={busy}>
          {busy ? "Signing in…" : "Sign in"}
        </button>
      </form>
    </main>
  );
}

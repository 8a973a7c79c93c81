// Asks the edge. Everything goes to the place that the page came from, with the session's cookie.

import { signal } from "@preact/signals";

/** Who is signed in, as `/auth/session` tells it. */
export interface Session {
  tenant: string;
  node?: string | null;
  credential?: string | null;
  scopes: string[];
  expires?: string | number | null;
}

/** `undefined` while nobody has asked yet. */
export const session = signal<Session | null | undefined>(undefined);

/** Why the session is over, where that was not the reader's wish. */
export const ended = signal<string | null>(null);

/** A refusal of the edge's, in its own words. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly requestId: string | null,
  ) {
    super(message);
  }
}

async function refused(answer: Response): Promise<Refused> {
  let body: { error?: unknown; code?: unknown } = {};
  try {
    body = (await answer.json()) as typeof body;
  } catch {
    // No JSON: the status has to do.
  }
  const error = typeof body.error === "string" ? body.error : `HTTP ${answer.status}`;
  const code = typeof body.code === "string" ? body.code : String(answer.status);
  return new Refused(answer.status, code, error, answer.headers.get("x-request-id"));
}

/** Asks for JSON. A session that is over ends the page's too. */
export async function get<T>(path: string): Promise<T> {
  const answer = await fetch(path, { headers: { accept: "application/json" } });
  if (answer.ok) return (await answer.json()) as T;
  const why = await refused(answer);
  if (why.status === 401) leave("Your session is over. Sign in again.");
  throw why;
}

function leave(why: string | null): void {
  if (session.value) ended.value = why;
  session.value = null;
}

/** Asks whether there is a session. */
export async function look(): Promise<void> {
  try {
    const answer = await fetch("/auth/session", { headers: { accept: "application/json" } });
    if (answer.ok) session.value = (await answer.json()) as Session;
    else leave(answer.status === 401 ? "Your session is over. Sign in again." : null);
  } catch {
    // Nobody answers: whoever was signed in may still be.
    if (session.value === undefined) session.value = null;
  }
}

/** Signs in with an API key or a signed token (three parts with dots between them). */
export async function signIn(secret: string): Promise<void> {
  const isToken = /^[\w-]+\.[\w-]+\.[\w-]+$/.test(secret);
  const headers: HeadersInit = isToken ? { authorization: `Bearer ${secret}` } : { "x-api-key": secret };
  const answer = await fetch("/auth/session", { method: "POST", headers });
  if (!answer.ok) throw await refused(answer);
  ended.value = null;
  session.value = undefined;
  await look();
}

/** Ends the session here and at the edge. */
export async function signOut(): Promise<void> {
  await fetch("/auth/session", { method: "DELETE" });
  session.value = null;
}

/** Whether the caller's key has a scope; `operator.admin` stands for all of a gateway's. */
export function may(scope: string): boolean {
  const scopes = session.value?.scopes ?? [];
  return scopes.includes(scope) || (scope.startsWith("operator.") && scopes.includes("operator.admin"));
}

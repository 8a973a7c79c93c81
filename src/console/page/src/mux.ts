// The socket for all gateways (`/ws`): what waits for somebody's decision, and the decisions.

import { signal } from "@preact/signals";
import { may } from "./api";

/** What an agent wants to run, as the gateway tells it. */
export interface Approval {
  gatewayId: string;
  id: string;
  request: Record<string, unknown>;
  createdAtMs?: number;
  expiresAtMs?: number;
}

/** A decision of `exec.approval.resolve`. */
export type Decision = "allow-once" | "allow-always" | "deny";

export const approvals = signal<ReadonlyMap<string, Approval>>(new Map());
/** Whether the socket is open. */
export const socketOpen = signal(false);

export const nameOf = (approval: { gatewayId: string; id: string }) => `${approval.gatewayId}\n${approval.id}`;

interface Frame {
  gatewayId: string;
  type: "res" | "event" | "req";
  id?: string;
  ok?: boolean;
  payload?: unknown;
  error?: { code?: string; message?: string };
  event?: string;
}

type Waiting = { done: (payload: unknown) => void; failed: (why: Error) => void };

let socket: WebSocket | null = null;
let comeBack: ReturnType<typeof setTimeout> | undefined;
let tries = 0;
let calls = 0;
const waiting = new Map<string, Waiting>();

/** Calls a method of a gateway. */
export function call(gatewayId: string, method: string, params: unknown): Promise<unknown> {
  const open = socket;
  if (!open || open.readyState !== WebSocket.OPEN) return Promise.reject(new Error("The socket is not open."));
  calls += 1;
  const id = `c${calls}`;
  return new Promise((done, failed) => {
    waiting.set(id, { done, failed });
    open.send(JSON.stringify({ gatewayId, type: "req", id, method, params }));
  });
}

function set(change: (all: Map<string, Approval>) => void): void {
  const all = new Map(approvals.value);
  change(all);
  approvals.value = all;
}

function asApproval(gatewayId: string, told: unknown): Approval | null {
  if (typeof told !== "object" || told === null) return null;
  const { id, request, createdAtMs, expiresAtMs } = told as Partial<Approval>;
  if (typeof id !== "string" || typeof request !== "object" || request === null) return null;
  return {
    gatewayId,
    id,
    request,
    ...(createdAtMs === undefined ? {} : { createdAtMs }),
    ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
  };
}

/** What waits at a gateway already. */
async function list(gatewayId: string): Promise<void> {
  const told = await call(gatewayId, "exec.approval.list", {});
  const rows = Array.isArray(told) ? told : ((told as { approvals?: unknown[] } | null)?.approvals ?? []);
  set((all) => {
    for (const [name, one] of all) if (one.gatewayId === gatewayId) all.delete(name);
    for (const row of rows) {
      const one = asApproval(gatewayId, row);
      if (one) all.set(nameOf(one), one);
    }
  });
}

function take(frame: Frame): void {
  if (frame.type === "res" && frame.id !== undefined) {
    const one = waiting.get(frame.id);
    waiting.delete(frame.id);
    if (frame.ok) one?.done(frame.payload);
    else one?.failed(new Error(frame.error?.message ?? frame.error?.code ?? "refused"));
    return;
  }
  switch (frame.event) {
    case "proxy.connected":
      if (may("operator.approvals")) list(frame.gatewayId).catch(() => undefined);
      break;
    case "exec.approval.requested": {
      const one = asApproval(frame.gatewayId, frame.payload);
      if (one) set((all) => all.set(nameOf(one), one));
      break;
    }
    case "exec.approval.resolved": {
      const id = (frame.payload as { id?: unknown } | null)?.id;
      if (typeof id === "string") set((all) => all.delete(nameOf({ gatewayId: frame.gatewayId, id })));
      break;
    }
  }
}

/** Opens the socket, and keeps it open. */
export function open(): void {
  close();
  const opened = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
  socket = opened;
  opened.onopen = () => {
    tries = 0;
    socketOpen.value = true;
  };
  opened.onmessage = (event: MessageEvent<string>) => take(JSON.parse(event.data) as Frame);
  opened.onclose = () => {
    if (socket !== opened) return;
    forget();
    tries += 1;
    comeBack = setTimeout(open, Math.min(15_000, 500 * 2 ** tries));
  };
}

function forget(): void {
  socketOpen.value = false;
  approvals.value = new Map();
  for (const one of waiting.values()) one.failed(new Error("The socket has closed; nobody knows what became of it."));
  waiting.clear();
}

export function close(): void {
  clearTimeout(comeBack);
  const open = socket;
  socket = null;
  open?.close();
  forget();
}

/** Decides. The edge writes who did, before it goes on. */
export async function decide(approval: Approval, decision: Decision): Promise<void> {
  await call(approval.gatewayId, "exec.approval.resolve", { id: approval.id, decision });
  set((all) => all.delete(nameOf(approval)));
}

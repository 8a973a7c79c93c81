// What the edge tells, as docs/api.md has it.

export interface Trouble {
  gatewayId: string;
  code: string;
  error: string;
  since?: number;
}

export interface Gateway {
  id: string;
  name: string;
  wsUrl: string | null;
  controlUiUrl: string | null;
  connected?: boolean;
  since?: number | null;
  version?: string | null;
  protocol?: number | null;
  asOf?: number | null;
  error?: Trouble | null;
}

export interface Task {
  gatewayId: string;
  id: string;
  kind?: string;
  runtime?: string;
  status: string;
  title?: string;
  agentId?: string;
  sessionKey?: string;
  runId?: string;
  sourceId?: string;
  createdAt: number;
  updatedAt: number;
  startedAt?: number;
  endedAt?: number;
  progressSummary?: string;
  terminalSummary?: string;
  error?: string;
}

export interface Run {
  jobId: string;
  runId?: string;
  status?: string;
  completionStatus?: string;
  runAtMs?: number;
  durationMs?: number;
  summary?: string;
  error?: string;
}

export interface Job {
  gatewayId: string;
  id: string;
  name: string;
  enabled: boolean;
  effectiveAgentId?: string;
  scheduleKind?: string;
  schedule?: Record<string, unknown>;
  nextRunAtMs?: number;
  runningAtMs?: number;
  lastRunAtMs?: number;
  lastRunStatus?: string;
  lastRunError?: string;
  runs?: Run[];
}

/** Something that happened, as the page remembers it. */
export interface Happening {
  number: number;
  at: number;
  gatewayId: string;
  what: string;
  about: string;
}

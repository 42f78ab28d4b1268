import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { KEY, TRACEBACK, tokens } from "./runpod-outputs.ts";

/** What became of a job since the last poll: where it stands, and what its handler put out meanwhile. */
export type Moment = { status: string; puts?: unknown[] };

/** A refusal, a connection that is cut, or silence, in place of an answer. */
export type Trouble =
  | { status: number; body?: unknown; headers?: Record<string, string> }
  | { text: string }
  | "cut"
  | "silence";

/** The life of one job, and how the API behaves meanwhile. */
export type Script = {
  /** One for each poll, of whichever kind; the last one stays. */
  life: Moment[];
  /** What /status shows at the end; else everything that was put out, as `return_aggregate_stream` has it. */
  result?: unknown;
  /** /stream answers a bare array, without a status. */
  bare?: boolean;
  /** What happens to /run in place of an answer. */
  run?: Trouble;
  /** /run answers when this resolves; the job exists before. */
  runAfter?: Promise<void>;
  /** What happens to the n-th poll (from 1), which takes what it would have brought with it, unless it is refused with 429. */
  poll?: (n: number) => Trouble | undefined;
  workers?: Partial<typeof NO_WORKERS>;
  health?: Trouble;
  /** What happens to /cancel in place of an answer; the job is cancelled all the same. */
  cancel?: Trouble;
};

export type AskedJob = {
  id: string;
  headers: IncomingHttpHeaders;
  input: { messages?: { role: string; content: string }[]; prompt?: string; [field: string]: unknown };
};

export type FakeRunpod = {
  /** With `/v2`, as RUNPOD_BASE_URL wants it. */
  url: string;
  jobs: AskedJob[];
  /** Ids of jobs that were cancelled, as often as they were. */
  cancelled: string[];
  /** Polls so far, by path. */
  polls: string[];
  healthAsks(): number;
  /** Requests that wait for an answer right now. */
  open(): number;
  openFor(job: string): number;
  /** How the endpoint's workers are, until the next job. */
  staff(workers: Partial<typeof NO_WORKERS>): void;
  /** Polls that are allowed in a second from now on; those beyond it are refused with 429 and Retry-After. */
  limit(pollsASecond: number): void;
  /** Polls that were refused for their number. */
  refused(): number;
  /** How the next jobs are; until then they echo the last message. */
  behave(script: (job: AskedJob) => Script): void;
  close(): Promise<void>;
};

export const ENDPOINT = "abc123xyz";
/** RunPod counts requests over ten seconds. */
const LIMIT_WINDOW_MS = 10_000;
const NO_WORKERS = { idle: 0, initializing: 0, ready: 0, running: 0, throttled: 0, unhealthy: 0 };

type Job = { script: Script; polled: number; fetched: number };

/** A faithful RunPod API with one endpoint, on a port of its own. */
export async function startRunpod(): Promise<FakeRunpod> {
  const asked: AskedJob[] = [];
  const jobs = new Map<string, Job>();
  const cancelled: string[] = [];
  const polls: string[] = [];
  let healthAsks = 0;
  const open = new Set<{ id: string }>();
  let behaviour: (job: AskedJob) => Script = echoing;
  let workers: Script["workers"] = { ready: 1 };
  let healthTrouble: Trouble | undefined;

  async function run(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { input } = JSON.parse(await textOf(request));
    const one: AskedJob = { id: `job-${asked.length + 1}-u1`, headers: request.headers, input };
    const script = behaviour(one);
    asked.push(one);
    workers = script.workers ?? { ready: 1 };
    healthTrouble = script.health;
    if (script.run) return trouble(response, script.run);
    jobs.set(one.id, { script, polled: 0, fetched: 0 });
    await script.runAfter;
    sendJson(response, 200, { id: one.id, status: "IN_QUEUE" });
  }

  let limit = Number.POSITIVE_INFINITY;
  let refused = 0;
  let polledAt: number[] = [];
  function isOverLimit(): boolean {
    const now = performance.now();
    polledAt = polledAt.filter((at) => at > now - LIMIT_WINDOW_MS);
    if (polledAt.length >= (limit * LIMIT_WINDOW_MS) / 1_000) return true;
    polledAt.push(now);
    return false;
  }

  function poll(response: ServerResponse, path: string, id: string): void {
    polls.push(path);
    if (isOverLimit()) {
      refused++;
      sendJson(response, 429, { error: "rate limited" }, { "retry-after": "1" });
      return;
    }
    const job = jobs.get(id);
    if (!job) return void sendJson(response, 404, { error: "job not found" });
    job.polled++;
    const wrong = job.script.poll?.(job.polled);
    const isRefused = typeof wrong === "object" && "status" in wrong && wrong.status === 429;
    const answer = isRefused ? undefined : path === "stream" ? streamOf(job) : statusOf(job, id);
    if (wrong) return void trouble(response, wrong);
    sendJson(response, 200, answer);
  }

  function health(response: ServerResponse): void {
    healthAsks++;
    if (healthTrouble) return void trouble(response, healthTrouble);
    const counts = { completed: 5, failed: 1, inProgress: 0, inQueue: 1, retried: 0 };
    sendJson(response, 200, { jobs: counts, workers: { ...NO_WORKERS, ...workers } });
  }

  function cancel(response: ServerResponse, id: string): void {
    const job = jobs.get(id);
    if (!job) return void sendJson(response, 404, { error: "job not found" });
    cancelled.push(id);
    if (job.script.cancel) return void trouble(response, job.script.cancel);
    sendJson(response, 200, { id, status: "CANCELLED" });
  }

  const calls = new Map<string, (response: ServerResponse, id: string, request: IncomingMessage) => unknown>([
    ["POST run", (response, _, request) => run(request, response)],
    ["GET stream", (response, id) => poll(response, "stream", id)],
    ["GET status", (response, id) => poll(response, "status", id)],
    ["GET health", (response) => health(response)],
    ["POST cancel", (response, id) => cancel(response, id)],
  ]);
  const server = createServer((request, response) => {
    const [, , endpoint, what = "", id = ""] = (request.url ?? "").split("/");
    const one = { id };
    open.add(one);
    response.on("close", () => open.delete(one));
    if (request.headers.authorization !== `Bearer ${KEY}`) return sendJson(response, 401, { error: "unauthorized" });
    const call = endpoint === ENDPOINT ? calls.get(`${request.method} ${what}`) : undefined;
    if (call) call(response, id, request);
    else sendJson(response, 404, { error: "not found" });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v2`,
    jobs: asked,
    cancelled,
    polls,
    healthAsks: () => healthAsks,
    open: () => open.size,
    openFor: (job) => [...open].filter(({ id }) => id === job).length,
    limit(pollsASecond) {
      limit = pollsASecond;
    },
    refused: () => refused,
    staff(some) {
      workers = some;
    },
    behave(script) {
      behaviour = script;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const momentsOf = ({ script, polled }: Job) => script.life.slice(0, polled);
const nowOf = (job: Job): Moment =>
  job.script.life[Math.min(job.polled, job.script.life.length) - 1] ?? { status: "LOST" };
const putsOf = (job: Job) => momentsOf(job).flatMap(({ puts = [] }) => puts);

/** What was put out since the last time: it is not told again. */
function streamOf(job: Job) {
  const puts = putsOf(job);
  const stream = puts.slice(job.fetched).map((output) => ({ metrics: {}, output }));
  job.fetched = puts.length;
  return job.script.bare ? stream : { status: nowOf(job).status, stream };
}

function statusOf(job: Job, id: string) {
  const { status } = nowOf(job);
  if (status === "FAILED") return { id, status, error: TRACEBACK };
  const output = job.script.result ?? putsOf(job);
  return { id, status, delayTime: 12, executionTime: 34, ...(status === "COMPLETED" && { output }) };
}

const echoing = ({ input }: AskedJob): Script => {
  const words = `Echo: ${input.messages?.at(-1)?.content ?? input.prompt}`.match(/\s*\S+/g) ?? [];
  return {
    life: [
      { status: "IN_QUEUE" },
      ...words.map((word) => ({ status: "IN_PROGRESS", puts: [tokens([word])] })),
      { status: "COMPLETED" },
    ],
  };
};

function trouble(response: ServerResponse, what: Trouble): void {
  if (what === "silence") return;
  if (what === "cut") return void response.socket?.destroy();
  if ("text" in what) return void response.end(what.text);
  sendJson(response, what.status, what.body ?? { error: "no" }, what.headers);
}

function sendJson(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(body));
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const part of request.setEncoding("utf8")) text += part;
  return text;
}

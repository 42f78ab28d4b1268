import { z } from "zod";
import { bearer, refusalOf } from "./chat-completions.ts";
import { retryAfterOf, statusOf } from "./failures.ts";
import { createPollBudget } from "./poll-budget.ts";
import type { ProviderRequest } from "./provider.ts";
import type { Transport } from "./transport.ts";

export const RUNPOD_BASE_URL = "https://api.runpod.ai/v2";

/** An answer to a poll has every chunk of the model's stream in it, so it may be long; in bytes. */
const BODY_MOST = 32 * 1_048_576;
const CANCEL_MS = 2_000;

/** What a poll tells. Statuses that are not known are none of the ends. */
export type Progress = { status: string; items: unknown[]; output: unknown };

const started = z.object({ id: z.string().min(1) });
const progress = z.object({
  status: z.string(),
  stream: z.array(z.unknown()).nullish(),
  output: z.unknown().optional(),
});

const count = z.number().catch(0);
const healthSchema = z.object({
  jobs: z.object({ inQueue: count, inProgress: count, completed: count, failed: count, retried: count }),
  workers: z.object({
    idle: count,
    initializing: count,
    ready: count,
    running: count,
    throttled: count,
    unhealthy: count,
  }),
});

export type Health = z.infer<typeof healthSchema>;

export type Jobs = ReturnType<typeof jobsAt>;

export type Endpoint = { apiKey: string; endpointId: string; baseURL: string; transport: Transport };

/** The jobs of one RunPod endpoint. Every call throws what went wrong with it, with its HTTP status if it had one. */
export function jobsAt({ apiKey, endpointId, baseURL, transport }: Endpoint) {
  const budget = createPollBudget();
  const own = {
    "content-type": "application/json",
    accept: "application/json",
    "accept-encoding": "identity",
    ...bearer(apiKey),
  };
  const base = `${baseURL}/${encodeURIComponent(endpointId)}`;

  async function call(
    method: "GET" | "POST",
    path: string,
    { signal, body = null, headers: more }: CallOptions,
  ): Promise<unknown> {
    const headers = more ? { ...more, ...own } : own;
    const answer = await transport.send({ url: base + path, method, headers, body, signal });
    try {
      if (answer.status >= 300) throw await refusalOf(answer);
      return JSON.parse(await readWhole(answer.chunks));
    } finally {
      answer.release();
    }
  }
  const get = (path: string, signal: AbortSignal) => call("GET", path, { signal });

  /** A GET that waits for its share of what the endpoint allows. */
  async function poll(path: string, signal: AbortSignal): Promise<unknown> {
    await budget.turn(signal);
    signal.throwIfAborted();
    return get(path, signal).catch((error) => {
      if (statusOf(error) === 429) budget.refused(retryAfterOf(error));
      throw error;
    });
  }

  async function result(id: string, signal: AbortSignal): Promise<Progress> {
    const { status, output } = progress.parse(await poll(`/status/${encodeURIComponent(id)}`, signal));
    return { status, items: [], output };
  }

  return {
    result,
    /** Gives the job's id. */
    async run(input: object, { headers, signal }: Omit<CallOptions, "body">): Promise<string> {
      return started.parse(await call("POST", "/run", { headers, signal, body: JSON.stringify({ input }) })).id;
    },
    /** What the job has put out since it was asked last: it is not told again. */
    async stream(id: string, signal: AbortSignal): Promise<Progress> {
      const told = await poll(`/stream/${encodeURIComponent(id)}`, signal);
      // Documents show it without a status; then only an empty one leaves open how the job is.
      if (Array.isArray(told)) {
        return told.length === 0
          ? result(id, signal)
          : { status: "IN_PROGRESS", items: told.map(outputOf), output: null };
      }
      const { status, stream } = progress.parse(told);
      return { status, items: (stream ?? []).map(outputOf), output: null };
    },
    /** As well as may be, and in its own time: it never throws. */
    async cancel(id: string): Promise<void> {
      const signal = AbortSignal.timeout(CANCEL_MS);
      await call("POST", `/cancel/${encodeURIComponent(id)}`, { signal }).catch(() => undefined);
    },
    async health(signal: AbortSignal): Promise<Health> {
      return healthSchema.parse(await get("/health", signal));
    },
  };
}

type CallOptions = Pick<ProviderRequest, "headers"> & { signal: AbortSignal; body?: string | null };

const outputOf = (item: unknown): unknown =>
  typeof item === "object" && item !== null && "output" in item ? item.output : item;

async function readWhole(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of chunks) {
    size += part.length;
    if (size > BODY_MOST) throw new Error("the provider's answer is too long");
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

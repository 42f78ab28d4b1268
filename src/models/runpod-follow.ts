import { sleep } from "../core/time.ts";
import { statusOf } from "./failures.ts";
import type { ProviderEvent } from "./provider.ts";
import type { Health, Jobs, Progress } from "./runpod-jobs.ts";
import type { OutputReader } from "./runpod-output.ts";

/** Between two polls, in milliseconds: while text flows, while it is waited for, and in the queue. */
const FLOWING_MS = 100;
const WORKING_MOST_MS = 300;
const QUEUED_MOST_MS = 1_000;
/** Polls in a row that may fail. */
const MISSES_MOST = 3;
const HEALTH_EVERY_MS = 3_000;
const HEALTH_MS = 1_000;

export type Job = { jobs: Jobs; id: string; answer: OutputReader; signal: AbortSignal };

const OVER = new Set(["COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"]);

/**
 * Polls a job and reads its output until it is over, or the output itself says that the answer failed; gives the status
 * that it ended with, if it did, and whether some of the output may be missing. Only a queued job tells of its status:
 * one that runs has to show it by what it puts out.
 */
export async function* follow({ jobs, id, answer, signal }: Job): AsyncGenerator<ProviderEvent, Ended> {
  const poll = poller(jobs, id);
  const queueStatus = queueTeller(jobs);
  let pause = 0;
  while (!answer.hasFailed()) {
    const { status, items } = await poll.next(signal);
    const text = answer.read(items);
    if (text !== "") yield { type: "delta", text };
    if (OVER.has(status)) {
      if (items.length === 0 || answer.isProven()) return { status, isGappy: poll.isGappy() };
      continue; // more may be waiting to be fetched
    }
    if (status === "IN_QUEUE") yield { type: "status", status: await queueStatus(signal) };
    pause = nextPause(pause, status, text);
    await sleep(pause, signal);
    signal.throwIfAborted();
  }
  return { status: undefined, isGappy: false };
}

type Ended = { status: string | undefined; isGappy: boolean };

function nextPause(pause: number, status: string, text: string): number {
  if (text !== "" || pause === 0) return FLOWING_MS;
  return Math.min(pause * 1.5, status === "IN_QUEUE" ? QUEUED_MOST_MS : WORKING_MOST_MS);
}

/**
 * What /stream sent is never sent again, so a poll that failed may have taken a piece of the answer with it. From then on
 * only the result is believed, which has the whole: unless the job turns out to be queued yet, and so has put out nothing.
 */
function poller(jobs: Jobs, id: string) {
  let misses = 0;
  let isGappy = false;
  return {
    isGappy: () => isGappy,
    async next(signal: AbortSignal): Promise<Progress> {
      try {
        const seen = isGappy ? await jobs.result(id, signal) : await jobs.stream(id, signal);
        misses = 0;
        if (seen.status === "IN_QUEUE") isGappy = false;
        return seen;
      } catch (error) {
        signal.throwIfAborted();
        const status = statusOf(error);
        misses++;
        if (misses > MISSES_MOST || !mayPass(status)) throw error;
        if (status !== 429) isGappy = true; // a poll that was refused has fetched nothing
        return { status: "UNKNOWN", items: [], output: null };
      }
    },
  };
}

const mayPass = (status: number | null) => status === null || status === 429 || status >= 500;

/** Whether a queued job waits for a worker that is starting. Asks now and then, and never fails a job that runs. */
function queueTeller(jobs: Jobs) {
  let asked = Number.NEGATIVE_INFINITY;
  let status: "queued" | "starting" = "queued";
  return async (signal: AbortSignal) => {
    if (performance.now() - asked < HEALTH_EVERY_MS) return status;
    asked = performance.now();
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(HEALTH_MS)]);
    const health = await jobs.health(bounded).catch(() => undefined);
    if (health) status = isColdStart(health) ? "starting" : "queued";
    return status;
  };
}

const isColdStart = ({ workers }: Health) =>
  workers.initializing > 0 && workers.ready + workers.idle + workers.running === 0;

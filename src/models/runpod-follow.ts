import { sleep } from "../core/time.ts";
import { statusOf } from "./failures.ts";
import type { ProviderEvent } from "./provider.ts";
import type { Health, Jobs, Progress } from "./runpod-jobs.ts";
import { type OutputReader, outputReader } from "./runpod-output.ts";

/** Between two polls, in milliseconds: while text flows, while it is waited for, and in the queue. */
const FLOWING_MS = 100;
const WORKING_MOST_MS = 300;
const QUEUED_MOST_MS = 1_000;
/** Polls in a row that may fail. */
const MISSES_MOST = 3;
/** A job may be unknown for so long after it was begun, in milliseconds. */
const FRESH_MS = 5_000;
/** What an answer that is whole may still have to tell, its usage say, is waited for so long, in milliseconds. */
const LINGER_MS = 1_000;
const HEALTH_EVERY_MS = 3_000;
const HEALTH_MS = 1_000;

/** `answer` is read anew where the job begins anew. */
export type Job = { jobs: Jobs; id: string; answer: OutputReader; signal: AbortSignal };

const OVER = new Set(["COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"]);

/**
 * Polls a job and reads its output until it is over, or the output itself says that the answer failed; gives the status
 * that it ended with, if it did, and whether some of the output may be missing. Only a queued job tells of its status:
 * one that runs has to show it by what it puts out.
 */
export async function* follow(job: Job): AsyncGenerator<ProviderEvent, Ended> {
  const { jobs, id, signal } = job;
  const poll = poller(jobs, id);
  const queueStatus = queueTeller(jobs);
  const linger = lingering();
  let pause = 0;
  while (!job.answer.hasFailed()) {
    const { status, items } = await poll.next(signal);
    yield* begunAnew(job, status);
    const text = job.answer.read(items);
    if (text !== "") yield { type: "delta", text };
    const isGappy = poll.isGappy();
    if (OVER.has(status) && (items.length === 0 || job.answer.isProven())) return { status, isGappy };
    // The answer has said that it is whole; the job itself may take its time to be over.
    if (!isGappy && linger(job.answer)) return { status: "COMPLETED", isGappy };
    if (OVER.has(status)) continue; // more may be waiting to be fetched
    if (status === "IN_QUEUE") yield { type: "status", status: await queueStatus(signal) };
    pause = nextPause(pause, status, text);
    await sleep(pause, signal);
    signal.throwIfAborted();
  }
  return { status: undefined, isGappy: false };
}

/** In the queue again: its worker has died, and another one begins the same job. What came so far is void. */
function* begunAnew(job: Job, status: string): Generator<ProviderEvent> {
  if (status !== "IN_QUEUE" || job.answer.text() === "") return;
  job.answer = outputReader();
  yield { type: "restart" };
}

/** Whether a whole answer has told everything, or has had the time to. */
function lingering(): (answer: OutputReader) => boolean {
  let until: number | undefined;
  return (answer) => {
    if (!answer.isProven()) return false;
    until ??= performance.now() + LINGER_MS;
    return answer.usage() !== undefined || performance.now() >= until;
  };
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
  const freshUntil = performance.now() + FRESH_MS;
  let isKnown = false;
  let misses = 0;
  let isGappy = false;
  return {
    isGappy: () => isGappy,
    async next(signal: AbortSignal): Promise<Progress> {
      try {
        const seen = isGappy ? await jobs.result(id, signal) : await jobs.stream(id, signal);
        misses = 0;
        isKnown = true;
        if (seen.status === "IN_QUEUE") isGappy = false;
        return seen;
      } catch (error) {
        signal.throwIfAborted();
        const status = statusOf(error);
        const isFresh = status === 404 && !isKnown && performance.now() < freshUntil;
        // A poll that was refused has fetched nothing; the budget sees to the pause, the turn's timers to the end.
        if (status === 429 || isFresh) return UNKNOWN;
        misses++;
        if (misses > MISSES_MOST || !mayPass(status)) throw error;
        isGappy = true;
        return UNKNOWN;
      }
    },
  };
}

const UNKNOWN: Progress = { status: "UNKNOWN", items: [], output: null };

const mayPass = (status: number | null) => status === null || status >= 500;

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

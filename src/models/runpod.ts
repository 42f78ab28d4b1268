import type { FailureKind } from "../core/model.ts";
import { statusOf } from "./failures.ts";
import { openai } from "./openai.ts";
import type { Provider, ProviderEvent, ProviderRequest } from "./provider.ts";
import { follow, type Job } from "./runpod-follow.ts";
import { inputOf, type RunpodInput } from "./runpod-input.ts";
import { type Endpoint, type Jobs, jobsAt } from "./runpod-jobs.ts";
import { outputReader } from "./runpod-output.ts";

/** A job whose caller has left before its id was known is waited for so long, in milliseconds, to be cancelled. */
const LATE_MS = 5_000;

export type RunpodOptions = Endpoint & {
  /** Jobs, whose queue shows and which can be cancelled, or the endpoint's OpenAI route. */
  mode: "native" | "openai";
  input: RunpodInput;
};

/** One serverless endpoint of RunPod. Gives the provider, and how the endpoint's workers and jobs are. */
export function runpod({ mode, input, ...endpoint }: RunpodOptions) {
  const jobs = jobsAt(endpoint);
  return { provider: mode === "native" ? overJobs(jobs, input) : overOpenAI(endpoint), health: jobs.health };
}

function overOpenAI({ apiKey, endpointId, baseURL, transport }: Endpoint): Provider {
  const route = openai({ apiKey, baseURL: `${baseURL}/${encodeURIComponent(endpointId)}/openai/v1`, transport });
  let served: string | undefined;
  return async function* (request, signal) {
    if (request.model !== endpointId) return yield* route.provider(request, signal);
    // The endpoint stands for the model that it serves. If it cannot be asked, the call itself shows why.
    served ??= (await route.models(signal).catch(() => []))[0]?.id;
    yield* route.provider({ ...request, model: served ?? endpointId }, signal);
  };
}

const overJobs = (jobs: Jobs, input: RunpodInput): Provider =>
  async function* (request, signal) {
    const asked = { input: inputOf(request, input), headers: request.headers };
    const job = { jobs, id: await start(jobs, asked, signal), answer: outputReader(), signal };
    let isOver = false;
    try {
      yield { type: "head", status: 200 };
      const { status, isGappy } = yield* follow(job);
      isOver = status !== undefined;
      // A job's own error is a traceback as often as not: it is not even read.
      if (status === "COMPLETED") yield* settle(job, isGappy);
      else if (status === "TIMED_OUT") yield failed(job.answer.text() === "" ? "timeout_first_token" : "timeout_idle");
      else yield isOver ? failed("stream_incomplete") : job.answer.ending();
    } catch (error) {
      isOver ||= statusOf(error) === 404; // RunPod has forgotten the job
      yield failed(kindOfLoss(error, job));
    } finally {
      if (!isOver) void jobs.cancel(job.id);
    }
  };

/** What it means that a job can no longer be followed. Throws what says so itself. */
function kindOfLoss(error: unknown, { answer, signal }: Job): FailureKind {
  const status = statusOf(error);
  if (signal.aborted || (status !== null && status !== 404)) throw error;
  if (answer.text() !== "") return "stream_cut";
  if (status === null) throw error;
  return "stream_incomplete";
}

type Asked = Pick<ProviderRequest, "headers"> & { input: object };

/** Starts a job and gives its id. A caller may leave at any time; the job is then cancelled as soon as its id is known. */
async function start(jobs: Jobs, { input, headers }: Asked, signal: AbortSignal): Promise<string> {
  signal.throwIfAborted();
  const patience = new AbortController();
  const started = jobs.run(input, { headers, signal: patience.signal });
  const left = Promise.withResolvers<never>();
  const leave = () => {
    const timer = setTimeout(() => patience.abort(), LATE_MS);
    void started.then(jobs.cancel, () => undefined).finally(() => clearTimeout(timer));
    left.reject(signal.reason);
  };
  signal.addEventListener("abort", leave, { once: true });
  try {
    return await Promise.race([started, left.promise]);
  } finally {
    signal.removeEventListener("abort", leave);
  }
}

/**
 * The end of a job that has completed. What its stream did not prove, the result may: some handlers do not stream, and a
 * poll may have been lost. It is told only where it goes on from what was told already.
 */
async function* settle({ jobs, id, answer, signal }: Readonly<Job>, isGappy: boolean): AsyncGenerator<ProviderEvent> {
  const rest = isGappy ? "" : answer.rest(); // beside a gap it is no end of anything
  if (rest !== "") yield { type: "delta", text: rest };
  const ending = answer.ending();
  if (ending.type === "end" && !isGappy) return yield* close(answer.usage(), ending);
  const whole = outputReader();
  whole.read((await jobs.result(id, signal)).output);
  whole.rest();
  if (!whole.text().startsWith(answer.text()))
    return yield ending.type === "failed" ? ending : failed("stream_incomplete");
  const more = whole.text().slice(answer.text().length);
  if (more !== "") yield { type: "delta", text: more };
  yield* close(whole.usage() ?? answer.usage(), whole.ending());
}

function* close(usage: ReturnType<ReturnType<typeof outputReader>["usage"]>, ending: ProviderEvent) {
  if (usage) yield { type: "usage", usage } satisfies ProviderEvent;
  yield ending;
}

const failed = (kind: FailureKind): ProviderEvent => ({ type: "failed", kind });

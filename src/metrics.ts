import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Live } from "./core/live.ts";
import type { Observe } from "./core/observe.ts";
import type { Write } from "./db/measured.ts";
import type { Handled } from "./http/log.ts";
import { type Labels, nameLabels, OTHER, targetsOf } from "./metric-labels.ts";
import type { ModelList } from "./services.ts";

/**
 * What one service has counted, in a registry of its own. Labels hold no ids, and nothing that a client has made up: what
 * is not configured here is counted as `other`.
 */
export type Metrics = Observe & {
  request(handled: Handled): void;
  /** From a write's call to its commit, in milliseconds. */
  wrote(write: Write, ms: number): void;
  /** How many batches have shared a commit. */
  committed(batches: number): void;
  /** Prometheus' text format. */
  read(): Promise<string>;
};

/** What is looked at when somebody reads. */
type Sources = { models: () => ModelList; live: Live; streams: ReadonlyMap<string, number> };

export function createMetrics(sources: Sources): Metrics {
  const registry = new Registry();
  const name = nameLabels(sources.models());
  watchState(registry, sources, name);
  let hasDefaults = false;
  return {
    ...countRequests(registry),
    ...countTurns(registry, name),
    ...countWrites(registry),
    read() {
      // From the first look on: nothing ends its timers, so who never looks does not pay for them.
      if (!hasDefaults) collectDefaultMetrics({ register: registry });
      hasDefaults = true;
      return registry.metrics();
    },
  };
}

/** Seconds: from what a lookup takes to what a turn may. */
const REQUEST_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 100, 300];
const OWN_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5];
const BATCH_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128];
/** As the OpenTelemetry conventions recommend: seconds, and tokens. */
const GEN_AI_BUCKETS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const TOKEN_BUCKETS = Array.from({ length: 14 }, (_, i) => 4 ** i);

const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

function countRequests(registry: Registry): Pick<Metrics, "request"> {
  const duration = new Histogram({
    name: "parley_http_request_duration_seconds",
    help: "Requests, by the pattern of their route, until the head of their answer.",
    labelNames: ["method", "route", "status"],
    buckets: REQUEST_BUCKETS,
    registers: [registry],
  });
  return {
    request: ({ method, route, status, ms }) =>
      duration.observe({ method: METHODS.has(method) ? method : OTHER, route, status }, ms / 1000),
  };
}

function countTurns(registry: Registry, name: Labels): Observe {
  const registers = [registry];
  const turns = new Counter({
    name: "parley_turns_total",
    help: "Turns that ended, by what was asked, what answered, and `completed` or the code of their error.",
    labelNames: ["model", "target", "outcome"],
    registers,
  });
  const own = new Histogram({
    name: "parley_turn_overhead_seconds",
    help: "What a turn took of the service itself: from being asked for to being stored, without its time in line and its waits for providers.",
    buckets: OWN_BUCKETS,
    registers,
  });
  const attempts = new Counter({
    name: "parley_attempts_total",
    help: "Calls to targets, by how they ended.",
    labelNames: ["target", "outcome"],
    registers,
  });
  const observeCall = observeGenAi(registry);
  return {
    turn({ model, target, status, error }, ownMs) {
      turns.inc({ model: name.asked(model), target: name.answered(target), outcome: error?.code ?? status });
      own.observe(ownMs / 1000);
    },
    attempt(attempt) {
      const target = name.called(attempt.asked, attempt.target);
      attempts.inc({ target, outcome: attempt.outcome });
      observeCall(target, attempt);
    },
  };
}

/**
 * The client metrics of OpenTelemetry's conventions for generative AI, in development as of November 2026:
 * https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-metrics.md
 * Their dots are underscores here. Tokens that no provider counted are marked `estimated`, a label of our own.
 */
function observeGenAi(registry: Registry) {
  const common = ["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"] as const;
  const registers = [registry];
  const duration = new Histogram({
    name: "gen_ai_client_operation_duration",
    help: "Seconds that calls to targets took.",
    labelNames: [...common, "error_type"],
    buckets: GEN_AI_BUCKETS,
    registers,
  });
  const firstChunk = new Histogram({
    name: "gen_ai_client_operation_time_to_first_chunk",
    help: "Seconds from a call to the first chunk of its answer.",
    labelNames: common,
    buckets: GEN_AI_BUCKETS,
    registers,
  });
  const tokens = new Histogram({
    name: "gen_ai_client_token_usage",
    help: "Tokens in and out of a call.",
    labelNames: [...common, "gen_ai_token_type", "estimated"],
    buckets: TOKEN_BUCKETS,
    registers,
  });
  return (target: string, { outcome, ms, first_chunk_ms, usage }: Parameters<Observe["attempt"]>[0]): void => {
    const [gen_ai_provider_name = OTHER, ...model] = target.split("/");
    const labels = { gen_ai_operation_name: "chat", gen_ai_provider_name, gen_ai_request_model: model.join("/") };
    duration.observe({ ...labels, ...(outcome !== "completed" && { error_type: outcome }) }, ms / 1000);
    if (first_chunk_ms !== null) firstChunk.observe(labels, first_chunk_ms / 1000);
    if (usage === null) return;
    const estimated = String(usage.estimated);
    tokens.observe({ ...labels, estimated, gen_ai_token_type: "input" }, usage.input_tokens);
    tokens.observe({ ...labels, estimated, gen_ai_token_type: "output" }, usage.output_tokens);
  };
}

function countWrites(registry: Registry): Pick<Metrics, "wrote" | "committed"> {
  const registers = [registry];
  const duration = new Histogram({
    name: "parley_db_write_duration_seconds",
    help: "From a write's call to its commit, or its failure.",
    labelNames: ["write"],
    buckets: OWN_BUCKETS,
    registers,
  });
  const sizes = new Histogram({
    name: "parley_db_commit_batches",
    help: "Batches that shared one commit; on SQLite.",
    buckets: BATCH_BUCKETS,
    registers,
  });
  return {
    wrote: (write, ms) => duration.observe({ write }, ms / 1000),
    committed: (batches) => sizes.observe(batches),
  };
}

const BREAKER = ["closed", "open", "half_open"] as const;

function watchState(registry: Registry, { models, live, streams }: Sources, name: Labels): void {
  const registers = [registry];
  new Gauge({
    name: "parley_breaker_state",
    help: "1 for the state in which a target's breaker is.",
    labelNames: ["target", "state"],
    registers,
    collect() {
      this.reset(); // a target may be called otherwise by now
      for (const { target, breaker } of targetsOf(models())) {
        for (const state of BREAKER) this.set({ target: name.configured(target), state }, Number(state === breaker));
      }
    },
  });
  new Gauge({
    name: "parley_turns_open",
    help: "Turns of this instance that run, and that wait in line.",
    labelNames: ["state"],
    registers,
    collect() {
      this.set({ state: "running" }, live.holding.size);
      this.set({ state: "queued" }, live.turns.size - live.holding.size);
    },
  });
  new Gauge({
    name: "parley_streams_open",
    help: "Event streams that are open.",
    registers,
    collect() {
      this.set([...streams.values()].reduce((sum, count) => sum + count, 0));
    },
  });
}

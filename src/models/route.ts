import type { Attempt, DispatchEvent, Plan, Prompt, TurnError } from "../core/model.ts";
import type { Observe } from "../core/observe.ts";
import { sleep } from "../core/time.ts";
import type { Pass } from "./breaker.ts";
import { attemptOf, type Call, openCall } from "./call.ts";
import { tell, tellLeftAlone } from "./failures.ts";
import { type Move, moveAfter, SHORT_MS } from "./policy.ts";
import { spentOn } from "./prices.ts";
import type { Registry } from "./registry.ts";
import type { Limits } from "./watchdog.ts";

/**
 * Milliseconds: of silence before the first text while another target is left and on the last one, between texts, and
 * for the whole turn.
 */
export type Timeouts = { firstToken: number; lastFirstToken: number; idle: number; total: number };

type RouteDeps = { registry: Registry; timeouts: Timeouts; random: () => number; attempted: Observe["attempt"] };

/** The way of one turn over the targets of its plan, as far as it has come. */
type Route = RouteDeps & {
  readonly plan: Plan;
  readonly signal: AbortSignal;
  readonly deadline: number;
  readonly attempts: Attempt[];
  /** In USD, of the attempts that used tokens. */
  readonly costs: (number | null)[];
  move: Move;
  /** The index of the target that was called last, and the calls to it in a row. */
  at: number;
  calls: number;
  /** A window that the conversation did not fit into, in tokens, and what is to be told of it. */
  tooNarrow: number;
  unfit: string | null;
  /** The first target that refused the prompt for its length: it is sent a shorter one, once, if no other answers. */
  refit: { index: number; isDone: boolean } | null;
  /** For waiting while circuits are open, in milliseconds. */
  spareMs: number;
  /** What went by in waiting for targets, in milliseconds. */
  waitedMs: number;
  last: Call | null;
  /** The call whose text stands. */
  standing: Call | null;
};

export function openRoute(deps: RouteDeps, { plan, signal }: { plan: Plan; signal: AbortSignal }): Route {
  return {
    ...deps,
    plan,
    signal,
    deadline: performance.now() + deps.timeouts.total,
    attempts: [],
    costs: [],
    move: { to: "next" },
    at: -1,
    calls: 0,
    tooNarrow: 0,
    unfit: null,
    refit: null,
    spareMs: SHORT_MS,
    waitedMs: 0,
    last: null,
    standing: null,
  };
}

const leftMs = ({ deadline }: Route) => deadline - performance.now();

/** The next call to make, after whatever has to be waited for; undefined where there is none. */
export async function nextCall(route: Route): Promise<Call | undefined> {
  const { move, signal } = route;
  if (move.to === "stop") return undefined;
  const since = performance.now();
  if (move.to === "again") await sleep(move.afterMs, signal);
  const entered =
    (await enter(route, candidates(route, move.to === "again" ? route.at : route.at + 1))) ?? (await enterAgain(route));
  route.waitedMs += performance.now() - since;
  if (!entered) return undefined;
  const { index, name, pass } = entered;
  route.calls = index === route.at ? route.calls + 1 : 1;
  route.at = index;
  const outcome = route.standing?.outcome ?? "completed";
  const voids = outcome === "completed" ? null : outcome;
  return openCall(name, { pass, voids, limits: limitsOf(route), signal });
}

type Candidate = { index: number; name: string };
type Entered = Candidate & { pass: Pass };

function candidates({ plan, registry, tooNarrow }: Route, from: number): Candidate[] {
  const all = plan.targets.map((name, index) => ({ name, index }));
  return all.filter(({ name, index }) => index >= from && (tooNarrow === 0 || registry.mayHold(name, tooNarrow)));
}

function hasAnother(route: Route): boolean {
  return candidates(route, route.at + 1).some(({ name }) => route.registry.breaker.waitMs(name) === 0);
}

/**
 * The first target from there on that lets a call in: at once, or after the two seconds that a turn waits for open
 * circuits, or once another turn's probe has shown, in the time of a first text, that its target is back.
 */
async function enter(route: Route, found: readonly Candidate[]): Promise<Entered | undefined> {
  const patience = performance.now() + route.timeouts.firstToken;
  while (!route.signal.aborted && leftMs(route) > 0) {
    for (const candidate of found) {
      const pass = route.registry.breaker.enter(candidate.name);
      if (pass) return { ...candidate, pass };
    }
    const waitMs = pauseFor(route, found, patience);
    if (waitMs === null) return undefined;
    await sleep(waitMs + 1, route.signal);
  }
  return undefined;
}

/** The target that refused the prompt for its length, which is fitted to what that has taught. */
async function enterAgain(route: Route): Promise<Entered | undefined> {
  const { refit, plan } = route;
  const name = refit && plan.targets[refit.index];
  if (!name || refit.isDone) return undefined;
  refit.isDone = true;
  return enter(route, [{ index: refit.index, name }]);
}

/** How long to wait before one of these may be entered; null where that is not worth it. */
function pauseFor(route: Route, found: readonly Candidate[], patience: number): number | null {
  const { breaker } = route.registry;
  const waitMs = Math.min(...found.map(({ name }) => breaker.waitMs(name)));
  const isTried = found.some(({ name }) => breaker.state(name) === "half_open");
  if (isTried) return performance.now() < patience ? waitMs : null;
  if (waitMs > route.spareMs) return null;
  route.spareMs -= waitMs;
  return waitMs;
}

/** While another target is left, less patience: also one that shows life may not take the whole turn to itself. */
function limitsOf(route: Route): Limits {
  const { firstToken, lastFirstToken, idle } = route.timeouts;
  const total = leftMs(route);
  return hasAnother(route)
    ? { firstToken, idle, total, life: total / 2 }
    : { firstToken: lastFirstToken, idle, total, life: total };
}

/** Takes down what came of a call, and decides what follows. */
export function takeDown(route: Route, call: Call): void {
  const { name, outcome, retryAfterMs } = call;
  route.waitedMs += call.waitedMs;
  if (call.unfit === null) record(route, call);
  else route.unfit = call.unfit;
  if (outcome === "model_gone") route.registry.forget(name);
  route.move = outcome === "completed" ? { to: "stop" } : moveAfter({ kind: outcome, retryAfterMs, ...roomOf(route) });
  if (route.move.to === "wider") route.tooNarrow = call.measure?.window ?? route.registry.windowOf(name);
  if (outcome === "context_length" && call.prompt) measureBy(route, call, call.prompt);
  if (route.refit?.isDone && route.move.to !== "again") route.move = { to: "stop" };
}

/** A prompt that was refused for its length is a measurement. */
function measureBy(route: Route, { name, target, measure }: Call, { report }: Prompt): void {
  route.registry.windows.learn(target?.name ?? name, { estimated: report.estimated_tokens, measure });
  route.refit ??= { index: route.at, isDone: false };
}

function roomOf(route: Route) {
  const patienceMs = Math.min(route.timeouts.lastFirstToken, leftMs(route) / 2);
  return { calls: route.calls, another: hasAnother(route), patienceMs, random: route.random() };
}

function record(route: Route, call: Call): void {
  route.last = call;
  if (call.text !== "" || call.outcome === "completed") route.standing = call;
  const attempt = attemptOf(call);
  route.attempts.push(attempt);
  route.attempted({ ...attempt, asked: call.name, first_chunk_ms: call.firstChunkMs });
  if (attempt.usage) route.costs.push(call.target?.priceOf?.(attempt.usage) ?? null);
}

/** The last event of a turn whose way is over. */
export function endOf(route: Route): DispatchEvent {
  const { last, attempts, costs, waitedMs } = route;
  const told = route.standing ?? last;
  const target = told && nameOf(told);
  const ran = { target, ...spentOn(attempts, costs), attempts, context: told?.prompt?.report ?? null, waitedMs };
  if (last?.outcome === "completed") return { type: "end", finishReason: last.finishReason, ...ran };
  return { type: "failed", error: failureOf(route), ...ran };
}

function failureOf(route: Route): TurnError {
  const { signal, last, plan, unfit, registry } = route;
  if (signal.aborted) return tell(last ? nameOf(last) : plan.model, "cancelled");
  const isUnfit = unfit !== null && (!last || last.outcome === "context_length");
  if (isUnfit) return { code: "context_too_long", detail: unfit };
  if (last && last.outcome !== "completed") {
    const { code, detail } = tell(nameOf(last), last.outcome, last.status);
    return withRetryAfter({ code, detail: [detail, ...skipped(route)].join(" ") }, last.retryAfterMs);
  }
  const detail = plan.targets.map((name) => tellLeftAlone(name, registry.breaker.lastFailure(name))).join(" ");
  const waitMs = Math.min(...plan.targets.map(registry.breaker.waitMs));
  return withRetryAfter({ code: "provider_unavailable", detail }, waitMs);
}

/** Why the targets that were never asked were left alone, where their own failures are the reason. */
function skipped({ plan, attempts, registry: { breaker } }: Route): string[] {
  const asked = new Set(attempts.map(({ target }) => target));
  return plan.targets
    .filter((name) => !asked.has(name) && breaker.state(name) === "open")
    .map((name) => tellLeftAlone(name, breaker.lastFailure(name)));
}

const nameOf = ({ target, name }: Call) => target?.name ?? name;

function withRetryAfter(error: TurnError, ms: number | null): TurnError {
  return ms === null ? error : { ...error, retry_after_s: Math.max(1, Math.ceil(ms / 1000)) };
}

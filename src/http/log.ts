import type { Context, MiddlewareHandler } from "hono";
import { routePath } from "hono/route";
import pino, { type Logger } from "pino";
import type { Code } from "../core/errors.ts";
import { idsOf, readTrace } from "../core/trace.ts";
import { hiding } from "../secrets.ts";
import type { HttpEnv, StreamEnd } from "./env.ts";
import { timeOf } from "./time.ts";

export type { Logger };

type Format = "json" | "pretty";
type Log = { log: Logger; close(): Promise<void> };

/** Of lines that cannot be written yet, in characters; what comes on top is lost. */
const UNWRITTEN_MOST = 2 ** 24;

/** JSON lines, or short ones for people on a terminal. No message text is ever given to it; secrets are cut out. */
export function openLog(level: string, format: Format, secrets: readonly string[] = []): Log {
  const redact = ["*.authorization", "*.cookie", "*.apiKey", "err.headers", "err.request", "err.params", "err.query"];
  const formatters = { level: (label: string) => ({ level: label }) };
  const options = {
    level,
    base: null, // no pid and host name: one process, one stream
    formatters,
    redact,
    timestamp: () => `,"time":"${timeOf(Date.now())}"`,
    serializers: { err: plainError },
    hooks: { streamWrite: hiding(secrets) }, // whatever an error says
  };
  if (format === "pretty") {
    process.stdout.on("error", goOnUnheard);
    return { log: pino(options, { write: prettyLine }), close: async () => {} };
  }
  const { lines, close } = toStandardOutput();
  return { log: pino(options, lines), close };
}

/** Whoever read the log is gone, or its disk is full: the service goes on. */
function goOnUnheard(): void {}

function toStandardOutput() {
  const lines = pino.destination({ dest: 1, sync: false, maxLength: UNWRITTEN_MOST });
  let fails = false;
  lines.on("error", () => {
    fails = true;
  });
  lines.on("write", () => {
    fails = false;
  });
  const close = () =>
    new Promise<void>((resolve) => {
      lines.once("close", resolve).once("error", resolve);
      if (!fails) return lines.end(); // what is still on its way is written first
      lines.destroy();
      resolve(); // a broken pipe would never say that it is closed
    });
  return { lines, close };
}

/** An error without what drivers hang on it: statements with their parameters, request bodies. */
function plainError(error: unknown): object {
  if (!(error instanceof Error)) return { message: "a value that is no error was thrown" };
  const cause = error.cause instanceof Error ? error.cause : error; // Drizzle's message is the SQL and its parameters
  const code = "code" in cause ? cause.code : undefined;
  return { type: cause.name, message: cause.message, code, stack: cause.stack };
}

function prettyLine(line: string): void {
  const { level, time, msg, ...fields } = JSON.parse(line);
  const rest = Object.entries(fields).map(
    ([key, value]) => `${key}=${typeof value === "object" ? JSON.stringify(value) : value}`,
  );
  process.stdout.write(`${time.slice(11, 23)} ${level.padEnd(5)} ${msg} ${rest.join(" ")}\n`);
}

/** What a request came to: `ms` until the head of its answer. */
export type Handled = { method: string; route: string; status: number; ms: number };

/** What every line of a request says of it, so that they are found together, and by its trace. */
export const idsOfRequest = (c: Context<HttpEnv>) => ({ request_id: c.get("requestId"), ...idsOf(c.get("trace")) });

/** One line per request, when its answer is over; `told` hears of it at the head of the answer. */
export function logRequests(log: Logger, told: (handled: Handled) => void): MiddlewareHandler<HttpEnv> {
  return async (c, next) => {
    const started = performance.now();
    c.set("trace", readTrace(c.req.header("traceparent"), c.req.header("tracestate")));
    await next();
    const handled = { method: c.req.method, route: routePath(c, -1), status: c.res.status };
    told({ ...handled, ms: performance.now() - started });
    const streamed = c.get("streamed");
    if (streamed) void streamed.then((end) => logRequest(log, c, { ...handled, started, end }));
    else logRequest(log, c, { ...handled, started });
  };
}

type Over = Omit<Handled, "ms"> & { started: number; end?: StreamEnd };

function logRequest(log: Logger, c: Context<HttpEnv>, { started, end, ...handled }: Over): void {
  const ms = Math.round((performance.now() - started) * 10) / 10;
  const code = c.get("code");
  const place = handled.route === UNMATCHED ? { route: "none", path: pathOf(c) } : {};
  const level = end?.ended === "failed" ? "error" : levelOf(handled, code);
  log[level]({ ...idsOfRequest(c), ...handled, ...place, ...(code && { code }), ms, ...end }, "request");
}

/** The pattern that is left where no route was asked for. */
const UNMATCHED = "/*";
/** Asked for again and again by machines, and of no interest while nothing else is wrong. */
const QUIET = /^(\/health(\/live|\/ready)?|\/api\/v1\/health|\/metrics)$/;

/** A provider's failure is a warning, our own an error. */
function levelOf({ route, status }: Pick<Handled, "route" | "status">, code: Code | undefined) {
  if (QUIET.test(route) && status !== 500) return "debug";
  if (status < 500) return "info";
  return code?.startsWith("provider_") ? "warn" : "error";
}

const PATH_MOST = 200;

/** Without its query, cut, and without anything that could pass for another line. */
const pathOf = (c: Context<HttpEnv>): string => encodeURI(c.req.path.slice(0, PATH_MOST).toWellFormed());

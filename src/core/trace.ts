import { randomBytes } from "node:crypto";

/** A trace that a request is part of (W3C Trace Context). No spans are recorded here: it is only passed along. */
export type Trace = {
  readonly traceId: string;
  /** The caller's span, and the request's own. */
  readonly parentId: string;
  readonly spanId: string;
  /** Whether the caller records it, and whether its id is random. */
  readonly flags: number;
  /** What vendors keep there; null where there is none that is well-formed and short. */
  readonly state: string | null;
};

const PARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const NOTHING = /^0+$/;
/** The others mean nothing yet, and are not to be passed along. */
const KNOWN_FLAGS = 0b11;

/** Reads the two headers; undefined where there is no `traceparent`, or a malformed one, whose `tracestate` says nothing either. */
export function readTrace(traceparent: string | undefined, tracestate: string | undefined): Trace | undefined {
  const [, version, traceId = "", parentId = "", flags = "", more] = PARENT.exec(traceparent ?? "") ?? [];
  if (version === undefined || version === "ff" || (version === "00" && more !== undefined)) return undefined;
  if (NOTHING.test(traceId) || NOTHING.test(parentId)) return undefined;
  const state = tracestate !== undefined && isState(tracestate) ? tracestate : null;
  return { traceId, parentId, spanId: newSpanId(), flags: Number.parseInt(flags, 16) & KNOWN_FLAGS, state };
}

/** What everybody has to pass along, in characters and members; more may be dropped. */
const STATE_LONGEST = 512;
const MEMBERS_MOST = 32;
const MEMBER = /^([a-z0-9][a-z0-9_*/@-]{0,255})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;

function isState(text: string): boolean {
  if (text.length > STATE_LONGEST) return false;
  const members = text.split(",").map((member) => member.replace(/^[ \t]+|[ \t]+$/g, ""));
  const keys = members.filter((member) => member !== "").map((member) => MEMBER.exec(member)?.[1]);
  const isEach = keys.length > 0 && keys.length <= MEMBERS_MOST && !keys.includes(undefined);
  return isEach && new Set(keys).size === keys.length;
}

const newSpanId = () => randomBytes(8).toString("hex");

/** The headers with which a call to somebody else is part of it, as a span of its own. */
export function headersOf({ traceId, flags, state }: Trace): Record<string, string> {
  const traceparent = `00-${traceId}-${newSpanId()}-${flags.toString(16).padStart(2, "0")}`;
  return state === null ? { traceparent } : { traceparent, tracestate: state };
}

/** What log lines say of it. */
export const idsOf = (trace: Trace | undefined): Record<string, string> =>
  trace ? { trace_id: trace.traceId, span_id: trace.spanId, parent_span_id: trace.parentId } : {};

import { describe, expect, it } from "vitest";
import { headersOf, readTrace, type Trace } from "../../src/core/trace.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";
const PARENT = `00-${TRACE}-${SPAN}-01`;

function read(parent: string, state?: string): Trace {
  const trace = readTrace(parent, state);
  if (!trace) throw new Error(`${parent} is no trace`);
  return trace;
}

describe("a traceparent", () => {
  it("is passed on with its trace, and a span of its own each time", () => {
    const trace = read(PARENT);
    expect(trace).toMatchObject({ traceId: TRACE, parentId: SPAN });
    const [one, other] = [headersOf(trace), headersOf(trace)].map(({ traceparent = "" }) => traceparent.split("-"));
    expect(one).toEqual(["00", TRACE, expect.stringMatching(/^[0-9a-f]{16}$/), "01"]);
    expect(new Set([SPAN, trace.spanId, one?.[2], other?.[2]]).size).toBe(4);
  });

  it.each([
    ["00", "00"],
    ["01", "01"],
    ["02", "02"],
    ["03", "03"],
    ["ff", "03"],
    ["fc", "00"],
  ])("keeps of the flags %s what they mean: %s", (flags, kept) => {
    expect(headersOf(read(`00-${TRACE}-${SPAN}-${flags}`))["traceparent"]).toMatch(new RegExp(`-${kept}$`));
  });

  it.each([`01-${TRACE}-${SPAN}-01`, `cc-${TRACE}-${SPAN}-01-and-more`, `fe-${TRACE}-${SPAN}-01-`])(
    "of a later version is read as far as it is known: %s",
    (parent) => {
      expect(headersOf(read(parent))["traceparent"]).toMatch(new RegExp(`^00-${TRACE}-[0-9a-f]{16}-01$`));
    },
  );

  it.each([
    undefined,
    "",
    "00",
    `ff-${TRACE}-${SPAN}-01`,
    `0-${TRACE}-${SPAN}-01`,
    `00-${"0".repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${"0".repeat(16)}-01`,
    `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    `00-${TRACE.slice(1)}-${SPAN}-01`,
    `00-${TRACE}0-${SPAN}-01`,
    `00-${TRACE.slice(1)}g-${SPAN}-01`,
    `00-${TRACE}-${SPAN.slice(1)}-01`,
    `00-${TRACE}-${SPAN}-1`,
    `00-${TRACE}-${SPAN}-0x`,
    `00-${TRACE}-${SPAN}`,
    `${PARENT}-more`,
    `${PARENT}-`,
    `${PARENT}\n`,
    ` ${PARENT}`,
    `${PARENT}, ${PARENT}`,
    `cc-${TRACE}-${SPAN}-01more`,
  ])("is none at all: %j", (parent) => {
    expect(readTrace(parent, "vendor=1")).toBeUndefined();
  });
});

describe("a tracestate", () => {
  const long = (length: number) => `k=${"v".repeat(length - 2)}`;
  const members = (count: number) => Array.from({ length: count }, (_, i) => `k${i}=1`).join(",");

  it.each([
    "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7",
    "fw529a3039@dt=FfAAA",
    "0tenant@system=a b!",
    "a_-*/=x , b=y,,",
    members(32),
    `${long(256)},l${long(254)}`,
  ])("is passed along as it stands: %s", (state) => {
    expect(headersOf(read(PARENT, state))["tracestate"]).toBe(state);
  });

  it.each([
    "",
    " , ",
    "congo",
    "congo=",
    "=1",
    "Congo=1",
    "congo=1,congo=2",
    "congo=a=b",
    "congo=größe",
    "congo=a\r\nx-evil: 1",
    "congo=a\tb",
    "@x=1",
    members(33),
    long(259),
    `${long(256)},l${long(255)}`,
  ])("is dropped, and the trace goes on: %j", (state) => {
    const headers = headersOf(read(PARENT, state));
    expect(headers).toEqual({ traceparent: expect.stringContaining(TRACE) });
  });
});

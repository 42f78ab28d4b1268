import { describe, expect, it } from "vitest";
import type { FailureKind } from "../../src/core/model.ts";
import { type Failed, moveAfter, retryAfterMs } from "../../src/models/policy.ts";

const failed = (kind: FailureKind, set: Partial<Failed> = {}): Failed => ({
  kind,
  calls: 1,
  retryAfterMs: null,
  another: true,
  patienceMs: 60_000,
  random: 0.5,
  ...set,
});

const table: Record<FailureKind, "again" | "next" | "wider" | "stop"> = {
  overloaded: "again",
  connect: "again",
  rate_limited: "again",
  timeout_headers: "next",
  timeout_first_token: "next",
  timeout_idle: "next",
  quota_exhausted: "next",
  auth: "next",
  model_gone: "next",
  stream_cut: "next",
  stream_incomplete: "next",
  answer_too_large: "next",
  bad_request: "next",
  context_length: "wider",
  timeout_total: "stop",
  content_filter: "stop",
  cancelled: "stop",
};
const kinds = Object.entries(table).map(([kind, to]) => ({ kind: kind as FailureKind, to }));
const again = kinds.filter(({ to }) => to === "again").map(({ kind }) => kind);

describe.each([true, false])("with another target left: %s,", (another) => {
  it.each(kinds)("after $kind: $to", ({ kind, to }) => {
    expect(moveAfter(failed(kind, { another })).to).toBe(to);
  });
});

describe.each(again)("a target that is %s", (kind) => {
  it("is called three times at most, with longer and longer pauses", () => {
    const pauses = [1, 2, 3].map((calls) => moveAfter(failed(kind, { calls, random: 0.999 })));
    expect(pauses).toEqual([
      { to: "again", afterMs: expect.closeTo(250, -1) },
      { to: "again", afterMs: expect.closeTo(500, -1) },
      { to: "next" },
    ]);
  });

  it("is called again after anything from nothing to the whole pause", () => {
    expect(moveAfter(failed(kind, { random: 0 }))).toEqual({ to: "again", afterMs: 0 });
    expect(moveAfter(failed(kind, { random: 0.5 }))).toEqual({ to: "again", afterMs: 125 });
  });

  it("is never called again before the time it named, nor by all at that time", () => {
    for (const random of [0, 0.5, 0.999]) {
      const move = moveAfter(failed(kind, { retryAfterMs: 1_500, random }));
      expect(move).toEqual({ to: "again", afterMs: expect.closeTo(1_505 + random * 150, 0) });
    }
  });

  it("is not waited for longer than two seconds while another target is left", () => {
    expect(moveAfter(failed(kind, { retryAfterMs: 2_000 })).to).toBe("again");
    expect(moveAfter(failed(kind, { retryAfterMs: 2_001 }))).toEqual({ to: "next" });
  });

  it("is waited for as long as the turn's patience reaches where no other target is left", () => {
    expect(moveAfter(failed(kind, { retryAfterMs: 60_000, another: false })).to).toBe("again");
    expect(moveAfter(failed(kind, { retryAfterMs: 60_001, another: false }))).toEqual({ to: "next" });
  });

  it("is not waited for where the turn has no patience left", () => {
    for (const another of [true, false]) {
      expect(moveAfter(failed(kind, { another, patienceMs: 100 }))).toEqual({ to: "next" });
    }
  });
});

describe("Retry-After", () => {
  const NOW = Date.parse("2026-11-24T12:00:00Z");
  it.each<{ headers: Record<string, string>; ms: number | null }>([
    { headers: {}, ms: null },
    { headers: { "retry-after": "7" }, ms: 7_000 },
    { headers: { "retry-after": "0.25" }, ms: 250 },
    { headers: { "retry-after": "0" }, ms: 0 },
    { headers: { "retry-after": "Tue, 24 Nov 2026 12:00:30 GMT" }, ms: 30_000 },
    { headers: { "retry-after": "Tue, 24 Nov 2026 11:59:30 GMT" }, ms: 0 },
    { headers: { "retry-after": "soon" }, ms: null },
    { headers: { "retry-after": "-5x" }, ms: null },
    { headers: { "retry-after-ms": "350" }, ms: 350 },
    { headers: { "retry-after-ms": "350", "retry-after": "7" }, ms: 350 },
    { headers: { "retry-after-ms": "?", "retry-after": "7" }, ms: 7_000 },
  ])("in $headers is $ms ms", ({ headers, ms }) => {
    expect(retryAfterMs((name) => headers[name], NOW)).toBe(ms);
  });
});

import fc from "fast-check";
import { expect, it } from "vitest";
import { timeOf } from "../../src/http/time.ts";

it("a time is what toISOString makes of it, whichever came before", () => {
  const last = new Date("9999-12-31T23:59:59.999Z").getTime();
  const near = fc.tuple(fc.integer({ min: 0, max: last }), fc.integer({ min: -86_400_000, max: 86_400_000 }));
  fc.assert(
    fc.property(near, ([ms, more]) => {
      const next = Math.min(Math.max(ms + more, 0), last);
      expect([timeOf(ms), timeOf(next)]).toEqual([new Date(ms).toISOString(), new Date(next).toISOString()]);
    }),
    { examples: [[[0, 1]], [[last, 0]], [[86_400_000, -1]], [[1_000 * 61, -60_999]]] },
  );
  expect(() => timeOf(Number.NaN)).toThrow(RangeError);
});

import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { without } from "../../guards/guard.ts";
import { guards } from "../../guards/list.ts";

const security = readFileSync("SECURITY.md", "utf8");

type Line = { threat: string; does: string; tests: string[] };
const lines: Line[] = [...security.matchAll(/^\| ((?:API|LLM)\d+) [^|]+\| ([^|]+) \|([^|]*)\|$/gm)].map(
  ([, threat = "", does = "", tests = ""]) => ({
    threat,
    does,
    tests: [...tests.matchAll(/`([^`]+)`/g)].map(([, name]) => `tests/${name}`),
  }),
);

describe("the guards that `npm run guards` takes out", () => {
  it.each(guards.map((guard) => [guard.what, guard] as const))("are there, once: %s", (_, guard) => {
    const text = readFileSync(guard.file, "utf8");
    expect(without(guard, text)).not.toBe(text);
    expect(existsSync(guard.test), guard.test).toBe(true);
  });

  it("have names of their own", () => {
    expect(new Set(guards.map(({ what }) => what)).size).toBe(guards.length);
  });
});

describe("SECURITY.md", () => {
  it("has a line for each threat of both lists", () => {
    const numbers = Array.from({ length: 10 }, (_, i) => i + 1);
    const api = numbers.map((n) => `API${n}`);
    const llm = numbers.map((n) => `LLM${String(n).padStart(2, "0")}`);
    expect(lines.map(({ threat }) => threat)).toEqual([...api, ...llm]);
  });

  it.each(lines)("names for $threat the tests that hold its guards, or says why it does not apply", (line) => {
    const held = guards.filter(({ threat }) => threat === line.threat).map(({ test }) => test);
    expect([...new Set(held)].sort()).toEqual([...line.tests].sort());
    expect(line.tests.length > 0).toBe(!/^Does not apply, because/.test(line.does));
    for (const test of line.tests) expect(existsSync(test), test).toBe(true);
  });

  it("counts the guards that there are", () => {
    expect(security).toContain(`${guards.length} guards`);
  });
});

import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { PROCESS } from "../support/isolation-record.ts";

/** Statements without a scope of their own: each runs behind a guard that has it, in the same batch. */
const BEHIND_A_GUARD: Readonly<Record<string, string>> = {
  insertTombstone: "lockRow",
  cancelTurns: "lockRow",
  deleteRow: "lockRow",
  insertPair: "takeRevs or createWithRevs",
  insertTurn: "takeRevs, takeRev or createWithRevs",
  insertAnswer: "takeRev",
  isNewest: "takeRev",
  mark: "lock",
  failAnswers: "lock",
  closeMarked: "lock",
  recountOpen: "lock",
};

type Declared = { name: string; file: string; slots: string; text: string };

const sources = ["core", "db"].flatMap((folder) =>
  readdirSync(`src/${folder}`).map((name) => {
    return { file: `${folder}/${name}`, text: readFileSync(`src/${folder}/${name}`, "utf8") };
  }),
);

const declared: Declared[] = sources.flatMap(({ file, text }) =>
  [...text.matchAll(/const (\w+)(?:: [^=]+)? = statement\(\s*(\[[^\]]*\]|\w+)[\s\S]*?\n(?:\}\)|\));/g)].map(
    ([all, name = "", slots = ""]) => ({ name, file, slots, text: all }),
  ),
);

const ofCallers = declared.filter(({ file }) => !(file in PROCESS));

describe("statements of core and db", () => {
  it("are all found here", () => {
    const calls = sources.flatMap(({ text }) => text.match(/= statement\(/g) ?? []);
    expect(declared).toHaveLength(calls.length);
    expect(calls.length).toBeGreaterThan(30);
  });

  it("say whose rows they touch, unless they are the process's own or stand behind a guard that says so", () => {
    const isScoped = ({ slots, text }: Declared) =>
      slots.includes("...scopeSlots") && /\bin(Scope|Ledger)\(/.test(text);
    const isOwn = ({ slots, text }: Declared) => slots.includes('"userId"') && text.includes("$.userId");
    const unsaid = ofCallers.filter((one) => !isScoped(one) && !isOwn(one) && !(one.name in BEHIND_A_GUARD));
    expect(unsaid.map(({ file, name }) => `${file} ${name}`)).toEqual([]);
  });

  it("are read alone only where they say so themselves", () => {
    const alone = sources.flatMap(({ text }) => [...text.matchAll(/\.all\(\s*(\w+)/g)].map(([, name]) => name));
    expect(alone.filter((name) => name !== undefined && name in BEHIND_A_GUARD)).toEqual([]);
  });

  it("are named here only where there are such", () => {
    const names = ofCallers.map(({ name }) => name);
    expect(Object.keys(BEHIND_A_GUARD).filter((name) => !names.includes(name))).toEqual([]);
    const files = sources.map(({ file }) => file);
    expect(Object.keys(PROCESS).filter((name) => !files.includes(name.replace(/ .*/, "")))).toEqual([]);
  });

  it("of the process itself know no caller", () => {
    for (const { file, text } of sources) if (file in PROCESS) expect(text, file).not.toMatch(/\bActor\b|scopeSlots/);
  });
});

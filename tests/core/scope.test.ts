import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { PROCESS } from "../support/isolation-record.ts";

/** Statements without a scope of their own: each runs behind a guard that has it, in the same batch. */
const BEHIND_A_GUARD: Readonly<Record<string, string>> = {
  insertTombstone: "lockRow",
  cancelTurns: "lockRow",
  forgetEvents: "lockRow",
  hideRow: "lockRow",
  insertPair: "takeRevs or createWithRevs",
  insertTurn: "takeRevs, takeRev or createWithRevs",
  insertAnswer: "takeRev",
  isNewest: "takeRev",
  questionStands: "takeRev",
  mark: "lock",
  failAnswers: "lock",
  closeMarked: "lock",
  recountOpen: "lock",
  insertMessage: "moveSessionRow or takeMessageRev",
  editMessageRow: "takeChangeRev",
  deleteMessageRow: "takeChangeRev",
  touchMessageRow: "takeChangeRev",
  insertExtension: "takeMessageRev, takeChangeRev, takeRevs or createWithRevs",
  deleteExtensionRow: "takeChangeRev, and touchMessageRow, which knows the message in its conversation",
  hasRoom: "takeChangeRev, and touchMessageRow or editMessageRow, which know the message in its conversation",
  uncount: "takeChangeRev",
  resettle: "takeChangeRev",
  blankMessageRow: "takeChangeRev",
  deleteExtensionsOf: "takeChangeRev, and deleteMessageRow, which knows the message in its conversation",
  blankOptionsOf: "takeChangeRev, and deleteMessageRow, which knows the message in its conversation",
  forgetTitle: "takeChangeRev",
  stampMessage: "takeRevOfHung, which knows what hangs on the message",
};

type Declared = { name: string; file: string; slots: string; text: string };

const sources = ["core", "db", "outbox", "stream-chat"].flatMap((folder) =>
  readdirSync(`src/${folder}`).map((name) => {
    return { file: `${folder}/${name}`, text: readFileSync(`src/${folder}/${name}`, "utf8") };
  }),
);

/** Slots that are declared in place, or beside the statement because several share them. */
function slotsIn(text: string, slots: string): string {
  if (slots.startsWith("[")) return slots;
  return new RegExp(`const ${slots} = (\\[[^\\]]*\\]) as const;`).exec(text)?.[1] ?? "";
}

const declared: Declared[] = sources.flatMap(({ file, text }) =>
  [...text.matchAll(/const (\w+)(?:: [^=]+)? = statement\(\s*(?!slots\b)(\[[^\]]*\]|\w+)[\s\S]*?\n(?:\}\)|\));/g)].map(
    ([all, name = "", slots = ""]) => ({ name, file, slots: slotsIn(text, slots), text: all }),
  ),
);

const ofCallers = declared.filter(({ file }) => !(file in PROCESS));

describe("statements", () => {
  it("are all found here", () => {
    const calls = sources.flatMap(({ text }) => text.match(/= statement\(\s*(?!slots\b)/g) ?? []);
    expect(declared).toHaveLength(calls.length);
    expect(calls.length).toBeGreaterThan(30);
  });

  it("that read a thread in parts are made with a scope, each of them", () => {
    const { text } = sources.find(({ file }) => file === "core/thread-parts.ts") ?? { text: "" };
    const made = [...text.matchAll(/partsOf\(\{[\s\S]*?\n\s*\}\);/g)].map(([all]) => all);
    expect(made.length).toBe(text.match(/partsOf\(\{/g)?.length);
    for (const one of made) {
      expect(one).toContain("inScope(db, $)");
      expect(one).toMatch(/slots: (\[\.\.\.scopeSlots,|betweenSlots,)/);
    }
    expect(text).toContain("const betweenSlots = [...scopeSlots,");
  });

  it("say whose rows they touch, unless they are the process's own or stand behind a guard that says so", () => {
    const isScoped = ({ slots, text }: Declared) =>
      slots.includes("...scopeSlots") && /\bin(Scope|Ledger)\(/.test(text);
    const isOwn = ({ slots, text }: Declared) =>
      !slots.includes("...scopeSlots") && slots.includes('"userId"') && text.includes("$.userId");
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

  it("read for all who watch in one place alone, and only what each of them was found in scope for", () => {
    const whole = readdirSync("src", { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => ({ file, text: readFileSync(`src/${file}`, "utf8") }));
    const filesWith = (what: RegExp) => whole.filter(({ text }) => what.test(text)).map(({ file }) => file);
    expect(filesWith(/\bself: ""/)).toEqual(["core/changes.ts"]);
    expect(filesWith(/\bsees: "all"(?! \|)/)).toEqual(["core/changes.ts"]);
    // To those who watch, to the operator's own webhook, and to the app of Stream Chat, which shows each to its members.
    const told = ["core/feed.ts", "stream-chat/mirror.ts", "webhooks/news.ts"];
    expect(filesWith(/\bEVERYBODY\b/).sort()).toEqual(["core/changes.ts", ...told]);
    expect(filesWith(/\bstartFeed\(/).sort()).toEqual(["core/feed.ts", "core/watch.ts"]);
    expect(filesWith(/\bwatch\??\.join\b|\bjoin\b[^=(]*= watch\b/)).toEqual(["core/events.ts"]);
    const events = readFileSync("src/core/events.ts", "utf8");
    const joined = /const session = await (\w+)\(db, actor, id\);\s+if \(!session\) return;[\s\S]+?\.join\(session, /;
    expect(["findSession", "sessionRow"]).toContain(joined.exec(events)?.[1]);
    expect(events.match(/\.join\(/g)).toHaveLength(1);
  });

  it("of the process itself know no caller", () => {
    for (const { file, text } of sources) if (file in PROCESS) expect(text, file).not.toMatch(/\bActor\b|scopeSlots/);
  });
});

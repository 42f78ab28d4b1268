import { setTimeout as sleep } from "node:timers/promises";
import { startParley } from "./contenders.ts";
import { options } from "./options.ts";
import { fileLimit, memoryOf } from "./proc.ts";
import { closeReaders, openReaders, type Streams } from "./readers.ts";
import { inRounds, over, printHead, printRow } from "./rounds.ts";
import { bun, here, type Scenario, type Stage } from "./stage.ts";

// What an open stream costs in memory: a process before and after so many were opened, beside bare servers that hold as
// many event streams and know nothing else. A stream that is reset ends the run.

/** A process that rests for so long has cleared away what it can, and has lost what it cannot hold, in milliseconds. */
const PAUSE_MS = 5_000;
const OPENED = "event: message.delta";
const QUESTION = JSON.stringify({ message: "hello", stream: true });

type Subject = { name: string; pid: number; streams: Omit<Streams, "count"> };

export const openStreamsScenario: Scenario = {
  name: "open-streams",
  async run(stage) {
    console.log(`\nFiles that a process may have open: ${fileLimit()}`);
    const subjects = await subjectsOf(stage);
    for (const count of options.streams) {
      const rounds = await inRounds(options.rounds, subjects, (subject) => measure(subject, count));
      printHead([`${count} open streams`, "KiB each"]);
      for (const subject of subjects) printRow([subject.name, over(rounds, (round) => round.get(subject), 1)]);
    }
  },
};

async function subjectsOf(stage: Stage): Promise<Subject[]> {
  const all: Subject[] = [];
  for (const [name, program] of Object.entries({ Node: process.execPath, Bun: bun })) {
    const { pid, url } = await stage.processes.start([program, here("bare.ts")]);
    all.push({ name: `a bare server on ${name}`, pid, streams: { url: `${url}/`, method: "GET", opened: OPENED } });
  }
  for (const runtime of Object.keys(stage.runtimes)) {
    const start = async (name: string) => {
      const databaseUrl = await stage.fresh("SQLite", `${runtime}-${name}`);
      const env = { TURN_TIMEOUT_MS: "3600000", IDLE_TIMEOUT_MS: "3600000" };
      return startParley(stage, { runtime, databaseUrl, manner: "then-nothing", env });
    };
    const one = await start("readers");
    const each = await start("turns");
    all.push(
      { name: `${runtime}, readers of one turn`, pid: one.pid, streams: await readersOfOne(one.url) },
      {
        name: `${runtime}, a turn each`,
        pid: each.pid,
        streams: { url: `${each.url}/api/chat/send`, method: "POST", body: QUESTION, opened: OPENED },
      },
    );
  }
  return all;
}

async function readersOfOne(url: string): Promise<Subject["streams"]> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${url}/api/chat/send`, { method: "POST", headers, body: QUESTION });
  const text = Buffer.from((await response.body?.getReader().read())?.value ?? []).toString();
  const turnId = /"turn_id":"([^"]+)"/.exec(text)?.[1];
  return { url: `${url}/api/v1/turns/${turnId}/stream`, method: "GET", opened: OPENED };
}

/** Kibibytes a stream. The first streams of a process, which fill its caches, are opened and closed before. */
async function measure({ pid, streams }: Subject, count: number): Promise<number> {
  await closeReaders(await openReaders({ ...streams, count: Math.ceil(count / 5) }));
  await sleep(PAUSE_MS);
  const before = memoryOf(pid);
  const opened = await openReaders({ ...streams, count });
  await sleep(PAUSE_MS);
  const grown = memoryOf(pid) - before;
  await closeReaders(opened);
  return grown / count;
}

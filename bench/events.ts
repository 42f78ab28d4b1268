import { setTimeout as sleep } from "node:timers/promises";
import { startParley } from "./contenders.ts";
import { options } from "./options.ts";
import { closeReaders, heardBy, now, openReaders } from "./readers.ts";
import { inRounds, over, printHead, printRow, quantile } from "./rounds.ts";
import { here, type Scenario, type Stage } from "./stage.ts";

// How long a message takes to reach everybody who watches its session: from the start of its POST, and from the answer, to
// each reader; beside a bare server that writes as many bytes to as many sockets.

/** The first messages of a process, while it grows warm. */
const WARM_UP = 5;
/** Between two messages, in milliseconds. */
const PAUSE_MS = 50;

type Subject = { name: string; url: string; send(content: string): Promise<unknown> };
type Figures = { start50: number; start99: number; answer50: number; answer99: number };

export const eventScenario: Scenario = {
  name: "events",
  async run(stage) {
    const subjects = [await bareServer(stage)];
    for (const database of stage.databases) {
      for (const runtime of Object.keys(stage.runtimes)) {
        const databaseUrl = await stage.fresh(database, runtime.toLowerCase());
        subjects.push(
          await session(`${database}, ${runtime}`, (await startParley(stage, { runtime, databaseUrl })).url),
        );
      }
    }
    const rounds = await inRounds(options.rounds, subjects, measure);
    printHead([
      `${options.messages} messages to ${options.readers} readers`,
      ...["from the POST: p50 ms", "p99", "from its answer: p50 ms", "p99"],
    ]);
    for (const subject of subjects) {
      const figure = (key: keyof Figures) => over(rounds, (round) => round.get(subject)?.[key], 0);
      printRow([subject.name, figure("start50"), figure("start99"), figure("answer50"), figure("answer99")]);
    }
  },
};

async function post(url: string, body: string, type = "application/json"): Promise<string> {
  const response = await fetch(url, { method: "POST", headers: { "content-type": type }, body });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  return response.text();
}

async function bareServer({ processes }: Stage): Promise<Subject> {
  const { url } = await processes.start([process.execPath, here("bare.ts")]);
  const send = (content: string) => post(url, `event: message\ndata: ${content}${"x".repeat(1_000)}\n\n`, "text/plain");
  return { name: "a bare server", url, send };
}

async function session(name: string, url: string): Promise<Subject> {
  const { id } = JSON.parse(await post(`${url}/api/v1/sessions`, "{}"));
  const path = `${url}/api/v1/sessions/${id}`;
  const send = (content: string) =>
    post(`${path}/messages`, JSON.stringify({ content, sender_type: "agent", sender_id: "grace" }));
  return { name, url: `${path}/events`, send };
}

let sent = 0;

async function measure({ url, send }: Subject): Promise<Figures> {
  const child = await openReaders({ url, method: "GET", count: options.readers, opened: "\n:\n\n" });
  const fromStart: number[] = [];
  const fromAnswer: number[] = [];
  for (let i = 0; i < WARM_UP + options.messages; i++) {
    const message = sent++;
    const whole = heardBy(child, message);
    const started = now();
    await send(`<m${message}> ${"Lorem ipsum dolor sit amet. ".repeat(8)}`);
    const answered = now();
    for (const time of i < WARM_UP ? [] : await whole) {
      fromStart.push(time - started);
      fromAnswer.push(Math.max(0, time - answered));
    }
    await whole;
    await sleep(PAUSE_MS);
  }
  await closeReaders(child);
  const [start50, start99] = [quantile(fromStart, 0.5), quantile(fromStart, 0.99)];
  return { start50, start99, answer50: quantile(fromAnswer, 0.5), answer99: quantile(fromAnswer, 0.99) };
}

import { startParley } from "./contenders.ts";
import { options } from "./options.ts";
import { closeReaders, openReaders } from "./readers.ts";
import { inRounds, median, over, printHead, printRow } from "./rounds.ts";
import type { Scenario } from "./stage.ts";

// What agents who watch what is before them cost those who write: messages one after the other, while 200 sessions wait.

const DESKS = [0, 30, 100];
const WAITING = 200;
/** Of one kind, in one round. */
const TIMES = 100;

export const desksScenario: Scenario = {
  name: "desks",
  async run(stage) {
    printHead([
      "ms of a message, p50, while so many desks watch",
      ...DESKS.flatMap((count) => [`${count}`, ...(count > 0 ? ["ratio"] : [])]),
    ]);
    for (const database of stage.databases) {
      for (const runtime of Object.keys(stage.runtimes)) {
        const databaseUrl = await stage.fresh(database, `desks_${runtime.toLowerCase()}`);
        const { url } = await startParley(stage, { runtime, databaseUrl });
        const waiting = await given(url);
        const plain = await post(url, "/api/v1/sessions", {});
        for (const [where, id] of Object.entries({ elsewhere: plain.id, "in a session that waits": waiting })) {
          await timesOf(url, id); // the first are slow for other reasons
          const rounds = await inRounds(options.rounds, DESKS, (count) => beside(url, id, count));
          const half = (round: Map<number, number[]>, count: number) => median(round.get(count) ?? []);
          const cells = DESKS.flatMap((count) => [
            over(rounds, (round) => half(round, count), 2),
            ...(count > 0 ? [over(rounds, (round) => half(round, count) / half(round, 0), 2)] : []),
          ]);
          printRow([`${database}, ${runtime}, ${where}`, ...cells]);
        }
      }
    }
  },
};

async function beside(url: string, id: string, count: number): Promise<number[]> {
  if (count === 0) return timesOf(url, id);
  const path = `${url}/api/v1/agents/grace/events`;
  const child = await openReaders({ url: path, method: "GET", count, opened: "\n:\n\n" });
  const times = await timesOf(url, id);
  await closeReaders(child);
  return times;
}

/** Milliseconds of each of several messages, one after the other. */
async function timesOf(url: string, id: string): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < TIMES; i++) {
    const began = performance.now();
    await post(url, `/api/v1/sessions/${id}/messages`, { content: "Hello", sender_type: "user", sender_id: "ann" });
    times.push(performance.now() - began);
  }
  return times;
}

/** Sessions that wait; gives the id of the last. */
async function given(url: string): Promise<string> {
  let last = "";
  for (let i = 0; i < WAITING; i++) {
    const { id } = await post(url, "/api/v1/sessions", {});
    await post(url, `/api/v1/sessions/${id}/transfer`, { to: "agent" });
    last = id;
  }
  return last;
}

async function post(url: string, path: string, body: object): Promise<{ id: string }> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(url + path, { method: "POST", headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${path} was answered ${response.status}: ${await response.text()}`);
  return (await response.json()) as { id: string };
}

import { setTimeout as sleep } from "node:timers/promises";
import { drive, startFloor, startParley } from "./contenders.ts";
import { options } from "./options.ts";
import { memoryOf, mostMemoryOf } from "./proc.ts";
import type { Running } from "./processes.ts";
import { inRounds, over, printHead, printRow } from "./rounds.ts";
import type { Scenario, Stage } from "./stage.ts";

// What a process holds of the machine's memory: once it has rested after its start, after a load, and the most meanwhile.
// A process of its own in each round.

const REST_MS = 5_000;
/** Of a load, in seconds, in place of the usual. */
const LOAD_S = 20;
const CLIENTS = 64;

type Subject = { name: string; start(round: number): Promise<Running> };
type Figures = { idle: number; after: number; most: number };

export const memoryScenario: Scenario = {
  name: "memory",
  async run(stage) {
    const subjects = subjectsOf(stage);
    const rounds = await inRounds(options.rounds, subjects, (subject, round) => measure(stage, subject, round));
    printHead([`MB, ${CLIENTS} clients for ${LOAD_S} s`, "idle", "after load", "at most"]);
    for (const subject of subjects) {
      const figure = (key: keyof Figures) => over(rounds, (round) => round.get(subject)?.[key], 0);
      printRow([subject.name, figure("idle"), figure("after"), figure("most")]);
    }
  },
};

function subjectsOf(stage: Stage): Subject[] {
  return stage.databases.flatMap((database) => {
    const fresh = (name: string) => stage.fresh(database, name.toLowerCase());
    return [
      { name: `${database}, floor`, start: async (round) => startFloor(stage, await fresh(`floor_${round}`)) },
      ...Object.keys(stage.runtimes).map(
        (runtime): Subject => ({
          name: `${database}, ${runtime}`,
          start: async (round) => startParley(stage, { runtime, databaseUrl: await fresh(`${runtime}_${round}`) }),
        }),
      ),
    ];
  });
}

async function measure(stage: Stage, { start }: Subject, round: number): Promise<Figures> {
  const { pid, url } = await start(round);
  await sleep(REST_MS);
  const idle = megabytes(memoryOf(pid));
  await drive(stage, { pid, url, ask: "turn" }, { clients: CLIENTS, seconds: LOAD_S });
  await sleep(REST_MS);
  const figures = { idle, after: megabytes(memoryOf(pid)), most: megabytes(mostMemoryOf(pid)) };
  process.kill(pid);
  return figures;
}

const megabytes = (kibibytes: number) => (kibibytes * 1024) / 1e6;

import type { AskName } from "./asks.ts";
import { type Contender, compare, startFloor, startParley } from "./contenders.ts";
import type { DatabaseName, Scenario, Stage } from "./stage.ts";

// One ask over and over, by clients that never rest, on Parley and on the floor, each over a fresh database of its own.

type Ways = {
  ask: AskName;
  clients: readonly number[];
  manner?: string;
  /** With synchronous = full as well, where there is such a thing. */
  full?: true;
  /** Milliseconds over which the clients begin. */
  spread?: number;
  /** Beside the provider alone, so that what is added to it can be told. */
  provider?: true;
};

const loads: Record<string, Ways> = {
  turn: { ask: "turn", clients: [1, 16, 64, 256], full: true },
  added: { ask: "turn", clients: [1], full: true, provider: true },
  stream: { ask: "stream", clients: [64], manner: "32-pieces" },
  "first-token": { ask: "stream", clients: [64], manner: "after-200-ms", spread: 200, provider: true },
  create: { ask: "create", clients: [64] },
};

export const loadScenarios: Scenario[] = Object.entries(loads).map(([name, ways]) => ({
  name,
  async run(stage) {
    for (const database of stage.databases) {
      const contenders = await contendersOf(stage, database, { ...ways, name });
      await compare(stage, { ...ways, database, contenders });
    }
  },
}));

async function contendersOf(
  stage: Stage,
  database: DatabaseName,
  { name, ask, manner = "at-once", full, provider }: Ways & { name: string },
): Promise<Contender[]> {
  const fresh = (of: string) => stage.fresh(database, `${name}_${of}`.replace("-", "_").toLowerCase());
  const floor: Contender = { name: "floor", ask, ...(await startFloor(stage, await fresh("floor"), manner)) };
  const contenders = [floor];
  const add = async (name: string, parley: { runtime: string; env?: Record<string, string> }) => {
    const databaseUrl = await fresh(name.replace(", ", "_"));
    const [, beside] = contenders;
    const running = await startParley(stage, { ...parley, databaseUrl, manner });
    contenders.push({ name, ask, floor, ...(beside && { beside }), ...running });
  };
  const [first, ...others] = Object.keys(stage.runtimes);
  if (first) await add(first, { runtime: first });
  if (first && full && database === "SQLite") {
    await add(`${first}, full`, { runtime: first, env: { SQLITE_SYNCHRONOUS: "full" } });
  }
  for (const runtime of others) await add(runtime, { runtime });
  if (provider) contenders.push({ name: "the provider", ask: "provider", pid: 0, url: await stage.provider(manner) });
  return contenders;
}

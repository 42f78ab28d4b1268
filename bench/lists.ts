import { type Contender, compare, startFloor, startParley } from "./contenders.ts";
import { fillPostgres, fillSqlite } from "./fill.ts";
import type { DatabaseName, Scenario, Stage } from "./stage.ts";

// What a user with 10,001 conversations reads, one of which has 10,000 messages: beside 900 conversations of others, and
// beside a hundred times as many. All that is read is read by the floor, too, out of the same database.

const CLIENTS = [64];
/** Conversations of others, of ten messages each, as the user's own are. */
const sizes = { small: 900, large: 90_000 };

export const listScenarios: Scenario[] = (["list", "last"] as const).map((ask) => ({
  name: ask,
  async run(stage) {
    for (const database of stage.databases) {
      const contenders: Contender[] = [];
      for (const [size, others] of Object.entries(sizes)) {
        const databaseUrl = await filled(stage, database, `${ask}_${size}`, others);
        const floor: Contender = { name: `floor, ${size}`, ask, ...(await startFloor(stage, databaseUrl)) };
        contenders.push(floor);
        for (const runtime of Object.keys(stage.runtimes)) {
          const beside = contenders.find(({ name }) => name === `${runtime}, small`);
          const running = await startParley(stage, { runtime, databaseUrl });
          contenders.push({ name: `${runtime}, ${size}`, ask, floor, ...(beside && { beside }), ...running });
        }
      }
      await compare(stage, { database, clients: CLIENTS, contenders });
    }
  },
}));

async function filled(stage: Stage, database: DatabaseName, name: string, others: number): Promise<string> {
  const url = await stage.fresh(database, name);
  await (database === "SQLite" ? fillSqlite : fillPostgres)(url, others);
  return url;
}

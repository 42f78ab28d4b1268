import { availableParallelism, cpus, totalmem } from "node:os";
import { desksScenario } from "./desks.ts";
import { eventScenario } from "./events.ts";
import { listScenarios } from "./lists.ts";
import { loadScenarios } from "./loads.ts";
import { longScenario } from "./long.ts";
import { memoryScenario } from "./memory.ts";
import { openStreamsScenario } from "./open-streams.ts";
import { options } from "./options.ts";
import { redisScenario } from "./redis.ts";
import { onStage } from "./stage.ts";
import { stalledScenario } from "./stalled.ts";
import { startScenario } from "./start.ts";

// `npm run bench` measures everything, `npm run bench -- --only turn,list` what is named; bench/options.ts has the rest.

const all = [
  ...loadScenarios,
  ...listScenarios,
  longScenario,
  desksScenario,
  eventScenario,
  openStreamsScenario,
  stalledScenario,
  startScenario,
  memoryScenario,
  redisScenario,
];

async function main(signal: AbortSignal): Promise<void> {
  const known = all.map(({ name }) => name);
  const unknown = options.only.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new Error(`--only takes ${known.join(", ")}`);
  const [cpu] = cpus();
  const machine = `${availableParallelism()} × ${cpu?.model}, ${Math.round(totalmem() / 2 ** 30)} GB`;
  console.log(
    `${machine}, Node ${process.versions.node}; ${options.rounds} rounds, medians; ${new Date().toISOString()}`,
  );
  for (const { name, run } of all) {
    if (options.only.length > 0 && !options.only.includes(name)) continue;
    console.log(`\n## ${name}`);
    await onStage(signal, run);
  }
}

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => interrupted.abort(new Error(`ended by ${signal}`)));
}
try {
  await main(interrupted.signal);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

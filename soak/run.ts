import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createProcesses } from "../bench/processes.ts";
import { bundle } from "../bench/stage.ts";
import { freePort } from "../tests/support/global.ts";
import { type Result, soak } from "./kills.ts";

// Kills the service, over and over, in the middle of whatever it does, and looks whether it lost or doubled anything.

const { values: given } = parseArgs({
  options: {
    /** In all, shared out over the databases. */
    kills: { type: "string", default: "200" },
    database: { type: "string", default: "both" },
    clients: { type: "string", default: "128" },
    /** Leaves the databases where they are. */
    keep: { type: "boolean", default: false },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
  },
  allowPositionals: true, // npm leaves its `--` in
});

const databases = (["sqlite", "postgres"] as const).filter((name) => [name, "both"].includes(given.database));
const tell = (line: string) => process.stdout.write(`${line}\n`);

async function main(signal: AbortSignal): Promise<boolean> {
  if (databases.length === 0) throw new Error("--database is sqlite, postgres or both");
  const folder = mkdtempSync(join(tmpdir(), "parley-soak-"));
  chmodSync(folder, 0o755); // Postgres does not run as root: its own user has to get in
  const processes = createProcesses(folder, signal);
  tell(`seed ${given.seed}, ${given.clients} clients, Node ${process.versions.node}, ${new Date().toISOString()}`);
  const results: [string, Result][] = [];
  try {
    const common = { bundle: bundle(folder), folder, signal, clients: Number(given.clients), seed: Number(given.seed) };
    for (const name of databases) {
      const databaseUrl =
        name === "sqlite"
          ? `sqlite:///${join(folder, "soak.db")}`
          : `${await startPostgres(processes, join(folder, "postgres"))}postgres`;
      const kills = Math.ceil(Number(given.kills) / databases.length);
      const told = (line: string) => tell(`${name}: ${line}`);
      results.push([name, await soak({ ...common, port: await freePort(), databaseUrl, kills, tell: told })]);
    }
  } finally {
    await processes.stop();
    if (given.keep) tell(`the databases are in ${folder}`);
    else rmSync(folder, { recursive: true, force: true });
  }
  for (const [name, { wrong }] of results) for (const line of wrong) tell(`${name}: ${line}`);
  report(results);
  return results.every(([, { wrong }]) => wrong.length === 0);
}

async function startPostgres(processes: ReturnType<typeof createProcesses>, databaseDir: string): Promise<string> {
  const file = fileURLToPath(new URL("../bench/postgres.ts", import.meta.url));
  return (await processes.start([process.execPath, file, databaseDir])).url;
}

function report(results: readonly [string, Result][]): void {
  const columns = ["kills", "sent", "acknowledged", "found", "lost", "doubled", "answered", "resumed"] as const;
  const statuses = ["completed", "incomplete", "failed"];
  tell(`| database | ${[...columns, ...statuses.map((status) => `turns ${status}`), "open", "seconds"].join(" | ")} |`);
  tell(`|---|${"---:|".repeat(columns.length + statuses.length + 2)}`);
  for (const [name, result] of results) {
    const { queued = 0, in_progress = 0 } = result.turns;
    const turns = [...statuses.map((status) => result.turns[status] ?? 0), queued + in_progress];
    const figures = [...columns.map((column) => result[column]), ...turns, Math.round(result.seconds)];
    tell(`| ${[name, ...figures].join(" | ")} |`);
  }
}

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => interrupted.abort(new Error(`ended by ${signal}`)));
}
try {
  if (!(await main(interrupted.signal))) process.exitCode = 1;
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}

import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import postgres from "postgres";
import { options } from "./options.ts";
import { createProcesses, type Processes, type Running } from "./processes.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The path of a program of this folder. */
export const here = (name: string) => join(root, "bench", name);
export const bun = join(root, "node_modules/bun/bin/bun.exe");

export type DatabaseName = "SQLite" | "Postgres";

export type Stage = {
  readonly processes: Processes;
  /** For everything that is written; Postgres's own user can reach it. */
  readonly folder: string;
  /** The command that runs Parley on each runtime that was asked for and is there. */
  readonly runtimes: Readonly<Record<string, readonly string[]>>;
  readonly databases: readonly DatabaseName[];
  /** The address of a provider that answers in this way. */
  provider(manner: string): Promise<string>;
  /** The address of an empty database of that name. */
  fresh(database: DatabaseName, name: string): Promise<string>;
};

/** What a scenario measures, and how. It prints its table. */
export type Scenario = { name: string; run(stage: Stage): Promise<void> };

/** Sets everything up for one scenario, and takes it away however that ends. */
export async function onStage(signal: AbortSignal, run: Scenario["run"]): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "parley-bench-"));
  chmodSync(folder, 0o755); // Postgres does not run as root: its own user has to get in
  const processes = createProcesses(folder, signal);
  const dropped: (() => Promise<void>)[] = [];
  let provider: Promise<Running> | undefined;
  let server: Promise<Running> | undefined;
  try {
    await run({
      processes,
      folder,
      runtimes: runtimesOf(bundle(folder)),
      databases: (["SQLite", "Postgres"] as const).filter((name) => options.databases.includes(name.toLowerCase())),
      async provider(manner) {
        provider ??= processes.start([process.execPath, here("provider.ts")]);
        return `${(await provider).url}/${manner}/v1`;
      },
      async fresh(database, name) {
        if (database === "SQLite") return `sqlite:///${join(folder, `${name}.db`)}`;
        server ??= startPostgres(processes, folder);
        const made = await createDatabase((await server).url, `parley_bench_${process.pid}_${name}`);
        if (GIVEN) dropped.push(made.drop);
        return made.url;
      },
    });
  } finally {
    await processes.stop();
    for (const drop of dropped) await drop();
    rmSync(folder, { recursive: true, force: true });
  }
}

function runtimesOf(bundle: string): Stage["runtimes"] {
  const binary = join(root, "dist/parley");
  const all = {
    Node: [process.execPath, bundle],
    Bun: [bun, "--no-env-file", join(root, "src/main.ts")],
    binary: existsSync(binary) && [binary],
  };
  const chosen = Object.entries(all).filter(([name]) => options.runtimes.includes(name.toLowerCase()));
  return Object.fromEntries(chosen.filter((one): one is [string, string[]] => one[1] !== false));
}

/** A server in place of one of our own, with the right to make databases. */
const GIVEN = process.env["DATABASE_URL_BENCH"];

async function startPostgres(processes: Processes, folder: string): Promise<Running> {
  if (GIVEN) return { url: GIVEN, pid: 0 };
  return processes.start([process.execPath, here("postgres.ts"), join(folder, "postgres")]);
}

async function createDatabase(url: string, name: string) {
  const administer = async (text: string) => {
    const admin = postgres(url, { max: 1, onnotice: () => {}, ...(!GIVEN && { database: "postgres" }) });
    await admin.unsafe(text);
    await admin.end();
  };
  await administer(`create database ${name}`);
  const drop = () => administer(`drop database ${name} with (force)`);
  return { url: Object.assign(new URL(url), { pathname: `/${name}` }).href, drop };
}

/** What `npm start` runs on Node. */
export function bundle(folder: string): string {
  const file = join(folder, "parley.js");
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  execFileSync("sh", ["-c", String(scripts.bundle).replace("dist/parley.js", file)], {
    cwd: root,
    env: { ...process.env, PATH: `${join(root, "node_modules/.bin")}:${process.env["PATH"]}` },
  });
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  return file;
}

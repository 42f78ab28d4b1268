import { execFileSync } from "node:child_process";
import { readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import postgres from "postgres";
import type { Processes, Running } from "./processes.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const bun = join(root, "node_modules/bun/bin/bun.exe");

export const databases = ["SQLite", "Postgres"] as const;
export type DatabaseName = (typeof databases)[number];

/** One server under one name; the floor comes first of those of its database. */
export type Contender = { name: string; database: DatabaseName; isFloor: boolean } & Running;

export type Stage = {
  readonly processes: Processes;
  /** For everything that is written; its own user must be able to reach it. */
  readonly folder: string;
  readonly provider: Running;
  readonly bundle: string;
  /** What is left to do once every process has ended. */
  readonly afterwards: (() => Promise<unknown>)[];
};

/** Starts everything that is measured over one database, each on a fresh one of its own. */
export async function startContenders(stage: Stage, database: DatabaseName): Promise<Contender[]> {
  const fresh = database === "SQLite" ? freshSqlite(stage) : await freshPostgres(stage);
  const node = [process.execPath, "--enable-source-maps", stage.bundle];
  const onBun = [bun, "--no-env-file", join(root, "src/main.ts")];
  const floor = async () => {
    const command = [process.execPath, join(root, "bench/floor.ts"), await fresh("floor"), stage.provider.url];
    return stage.processes.start(command);
  };
  const parley = async (name: string, command: string[], synchronous: string) =>
    stage.processes.start(command, {
      PORT: "0",
      DATABASE_URL: await fresh(name),
      OPENAI_BASE_URL: stage.provider.url,
      SQLITE_SYNCHRONOUS: synchronous,
    });
  const contenders: Contender[] = [
    { name: "floor", database, isFloor: true, ...(await floor()) },
    { name: "Parley on Node", database, isFloor: false, ...(await parley("node", node, "normal")) },
    { name: "Parley on Bun", database, isFloor: false, ...(await parley("bun", onBun, "normal")) },
  ];
  if (database === "SQLite") {
    const name = "Parley on Node, synchronous full";
    contenders.push({ name, database, isFloor: false, ...(await parley("full", node, "full")) });
  }
  return contenders;
}

type Fresh = (name: string) => Promise<string>;

function freshSqlite({ folder }: Stage): Fresh {
  return async (name) => `sqlite:///${join(folder, `${name}.db`)}`;
}

/** Databases on DATABASE_URL_BENCH, from where they are taken away at the end, else on a Postgres of our own. */
export async function freshPostgres({ processes, folder, afterwards }: Stage): Promise<Fresh> {
  const given = process.env["DATABASE_URL_BENCH"];
  const { url } = given
    ? { url: given }
    : await processes.start([process.execPath, join(root, "bench/postgres.ts"), join(folder, "postgres")]);
  return async (name) => {
    const database = `parley_bench_${process.pid}_${name}`;
    const administer = async (text: string) => {
      const admin = postgres(url, { max: 1, onnotice: () => {}, ...(!given && { database: "postgres" }) });
      await admin.unsafe(text);
      await admin.end();
    };
    await administer(`create database ${database}`);
    if (given) afterwards.push(() => administer(`drop database ${database} with (force)`));
    return Object.assign(new URL(url), { pathname: `/${database}` }).href;
  };
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

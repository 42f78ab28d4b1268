import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished } from "vitest";
import { freePort } from "./global.ts";

/** Programs of Debian's that stand before Postgres; a test that needs one is skipped where it is missing. */

const find = (name: string) =>
  ["/usr/sbin", "/usr/bin", "/usr/local/bin"].map((folder) => join(folder, name)).find(existsSync);

export const pgbouncer = find("pgbouncer");
export const haproxy = find("haproxy");
if (!pgbouncer || !haproxy)
  console.warn("SKIPPED: pgbouncer or haproxy is not on this machine, so Postgres is not tried behind it");

/** A folder that another user may read. */
function folderFor(files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), "parley-proxy-"));
  chmodSync(folder, 0o755);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

async function run(command: string, args: string[], port: number): Promise<void> {
  const child = spawn(command, args, { stdio: "ignore" });
  onTestFinished(async () => {
    const ended = once(child, "exit");
    if (child.exitCode === null && child.signalCode === null && child.kill("SIGKILL")) await ended;
  });
  const isOpen = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1", () => resolve(true));
      socket.on("error", () => resolve(false)).on("connect", () => socket.destroy());
    });
  await expect.poll(isOpen, { timeout: 10_000, interval: 20 }).toBe(true);
}

const by = (url: string, port: number): string => Object.assign(new URL(url), { port: String(port) }).href;

/** The address of a Postgres database by way of a PgBouncer that hands each transaction any of its connections. */
export async function startPgBouncer(url: string, settings = ""): Promise<string> {
  const { hostname, port, username, password } = new URL(url);
  const own = await freePort();
  const folder = folderFor({
    "users.txt": `"${username}" "${password}"\n`,
    "pgbouncer.ini": `
[databases]
* = host=${hostname} port=${port} user=${username} password=${password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${own}
unix_socket_dir =
auth_type = plain
auth_file = users.txt
pool_mode = transaction
default_pool_size = 3
${settings}
`,
  });
  const args = [...(process.getuid?.() === 0 ? ["-u", "nobody"] : []), join(folder, "pgbouncer.ini")];
  await run("sh", ["-c", `cd "$0" && exec ${pgbouncer} "$@"`, folder, ...args], own);
  return by(url, own);
}

/** The address of a database by way of an HAProxy; `lead` sends connections from now on to another server, and ends none. */
export async function startHaproxy(url: string, servers: Record<string, number>) {
  const own = await freePort();
  const folder = folderFor({});
  const names = Object.keys(servers);
  writeFileSync(
    join(folder, "haproxy.cfg"),
    `
global
  stats socket ${folder}/admin level admin
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen postgres
  bind 127.0.0.1:${own}
${names.map((name, i) => `  server ${name} 127.0.0.1:${servers[name]}${i === 0 ? "" : " disabled"}`).join("\n")}
`,
  );
  await run(String(haproxy), ["-db", "-f", join(folder, "haproxy.cfg")], own);
  const tell = (command: string) =>
    new Promise<void>((resolve, reject) => {
      const socket = connect(join(folder, "admin"), () => socket.end(`${command}\n`));
      socket
        .on("close", () => resolve())
        .on("error", reject)
        .resume();
    });
  return {
    url: by(url, own),
    async lead(to: string) {
      for (const name of names) await tell(`set server postgres/${name} state ${name === to ? "ready" : "maint"}`);
    },
  };
}

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { describe, inject } from "vitest";
import type { Redis } from "../../src/bus/redis.ts";
import { eventually } from "./core-models.ts";
import { freePort } from "./global.ts";

const PROGRAM = "redis-server";
const isHere = spawnSync(PROGRAM, ["--version"]).status === 0;
if (!isHere) process.stderr.write(`${PROGRAM} is not on the PATH: what needs a Redis is skipped\n`);

/** For tests that need a Redis: skipped, and seen to be, where there is none on this machine. */
export const describeRedis = describe.skipIf(!isHere);

export type RedisServer = {
  url: string;
  /** What it answers to an inline command, over a connection of its own. */
  ask(command: string): Promise<string>;
  kill(): Promise<void>;
  /** Again after `kill`, on the same port, empty. */
  start(): Promise<void>;
  /** Its process stands still: connections stay, nothing is answered. */
  freeze(): void;
  thaw(): void;
};

/** A Redis of this test's own, on a free port of loopback; it has to be killed. */
export async function startRedis(...options: string[]): Promise<RedisServer> {
  const port = await freePort();
  const dir = join(inject("folder"), randomUUID());
  mkdirSync(dir);
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no"];
  let child: ChildProcess | undefined;

  async function start(): Promise<void> {
    const started = spawn(PROGRAM, [...args, ...options], { stdio: ["ignore", "pipe", "ignore"] });
    child = started;
    const stopWatching = watchOver(started);
    started.once("exit", stopWatching);
    await new Promise<void>((resolve, reject) => {
      started.once("exit", (code) => reject(new Error(`Redis ended with ${code}`)));
      started.stdout.on("data", (text) => String(text).includes("Ready to accept connections") && resolve());
    });
  }
  async function kill(): Promise<void> {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }
  await start();
  return {
    url: `redis://127.0.0.1:${port}`,
    ask: (command) => askInline(port, command),
    kill,
    start,
    freeze: () => void child?.kill("SIGSTOP"),
    thaw: () => void child?.kill("SIGCONT"),
  };
}

/** Kills a process once this one has ended, however it ends; gives what calls that off. */
function watchOver({ pid }: ChildProcess): () => void {
  const script = `cat > /dev/null; kill -9 ${pid}`;
  const watcher = spawn("sh", ["-c", script], { stdio: ["pipe", "ignore", "ignore"], detached: true });
  return () => void watcher.kill("SIGKILL");
}

function askInline(port: number, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(`${command}\r\nQUIT\r\n`));
    socket.on("data", (text) => (said += text));
    socket.on("end", () => resolve(said));
    socket.on("error", reject);
  });
}

/** For `openRedis`: what a Redis that is there may take to answer on a busy machine. */
export const REDIS_MAY_TAKE_MS = 30_000;

/** Resolves once Redis answers a handle: it comes back in its own time. */
export const untilIsThere = (redis: Redis): Promise<void> =>
  eventually(async () => {
    if (!(await ping(redis))) throw new Error("Redis is not there yet");
  });

export const ping = (redis: Redis) => redis.ask((client) => client.ping());

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";

// So many readers of event streams, in a process of their own, over bare sockets: each notes when a message reaches it. By
// the clock that all processes of a machine share.

export type Streams = {
  url: string;
  method: "GET" | "POST";
  body?: string;
  count: number /** Once it has come, a stream is open. */;
  opened: string;
};
export type Heard = { open: true } | { message: number; times: number[] };

export const now = () => Number(process.hrtime.bigint()) / 1e6;

/** Opens the streams; resolves once all are open. One that is lost ends the process. */
export async function openReaders(streams: Streams): Promise<ChildProcess> {
  const child = fork(fileURLToPath(import.meta.url), [JSON.stringify(streams)], { stdio: "inherit" });
  await nextOf(child);
  return child;
}

/** When the message reached each. Throws where a stream was lost. */
export async function heardBy(child: ChildProcess, message: number): Promise<number[]> {
  for (;;) {
    const heard = await nextOf(child);
    if ("message" in heard && heard.message === message) return heard.times;
  }
}

function nextOf(child: ChildProcess): Promise<Heard> {
  return new Promise((resolve, reject) => {
    const hear = (heard: unknown) => {
      child.off("exit", lose);
      resolve(heard as Heard);
    };
    const lose = () => {
      child.off("message", hear);
      reject(new Error("a stream was lost"));
    };
    child.once("message", hear);
    child.once("exit", lose);
  });
}

/** Closes them, having seen that all were still open. */
export async function closeReaders(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) throw new Error("a stream was lost");
  child.kill();
  await once(child, "exit");
}

/** Opened at once so many wait to be accepted; more are lost where the machine's backlog is what it is by itself. */
const AT_ONCE = 200;

function read({ url, method, body = "", count, opened }: Streams): void {
  const { host, hostname, port, pathname } = new URL(url);
  const arrivals = new Map<number, number[]>();
  let open = 0;
  let started = 0;

  function arrived(message: number): void {
    const times = arrivals.get(message) ?? [];
    arrivals.set(message, times);
    times.push(now());
    if (times.length === count) process.send?.({ message, times } satisfies Heard);
  }

  function start(): void {
    if (started === count) return;
    started++;
    let rest = "";
    let isOpen = false;
    const socket = connect(Number(port), hostname, () => {
      const head = `${method} ${pathname} HTTP/1.1\r\nHost: ${host}\r\nAccept: text/event-stream\r\n`;
      const more = body ? `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n` : "";
      socket.write(`${head}${more}\r\n${body}`);
    });
    socket.setEncoding("latin1").on("data", (text: string) => {
      const seen = rest + text;
      if (!isOpen && seen.includes(opened)) {
        isOpen = true;
        if (++open === count) process.send?.({ open: true } satisfies Heard);
        start();
      }
      let last = 0;
      for (const found of seen.matchAll(/<m(\d+)>/g)) {
        arrived(Number(found[1]));
        last = found.index + found[0].length;
      }
      rest = seen.slice(isOpen ? Math.max(last, seen.length - 8) : 0);
    });
    socket.on("close", () => process.exit(1)); // a reader was lost
  }

  for (let i = 0; i < AT_ONCE; i++) start();
}

if (import.meta.main) read(JSON.parse(process.argv[2] ?? ""));

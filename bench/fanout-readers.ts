import { connect } from "node:net";

// So many readers of one stream, in a process of their own, over bare sockets: each notes when a message reaches it. By
// the clock that all processes of a machine share.

const [host = "", port = "", path = "", count = ""] = process.argv.slice(2);
const now = () => Number(process.hrtime.bigint()) / 1e6;
const arrivals = new Map<number, number[]>();
let open = 0;

function arrived(message: number): void {
  const times = arrivals.get(message) ?? [];
  arrivals.set(message, times);
  times.push(now());
  if (times.length === Number(count)) process.send?.({ message, times });
}

function read(): void {
  let rest = "";
  let isOpen = false;
  const socket = connect(Number(port), host, () => {
    socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}:${port}\r\nAccept: text/event-stream\r\n\r\n`);
  });
  socket.setEncoding("latin1").on("data", (text: string) => {
    if (!isOpen && text.includes("\n:\n\n")) {
      isOpen = true;
      if (++open === Number(count)) process.send?.({ open });
    }
    const seen = rest + text;
    let last = 0;
    for (const found of seen.matchAll(/<m(\d+)>/g)) {
      arrived(Number(found[1]));
      last = found.index + found[0].length;
    }
    rest = seen.slice(Math.max(last, seen.length - 8));
  });
  socket.on("close", () => process.exit(1)); // a reader was lost
}

for (let i = 0; i < Number(count); i++) read();

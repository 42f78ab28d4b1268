import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** Listens on a free port until the test is over; gives the port. */
export async function listen(answer: (socket: Socket) => void): Promise<number> {
  const open = new Set<Socket>();
  const server: Server = createServer((socket) => {
    open.add(socket.on("error", () => {}));
    socket.on("close", () => open.delete(socket));
    answer(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of open) socket.destroy();
    await closed;
  });
  return (server.address() as AddressInfo).port;
}

export type Loss = "closed" | "reset";

export type Wire = {
  url: string;
  lose(how: Loss): void;
  /** From now on the connections that are open carry nothing more, and stay open; new ones are as ever. */
  freeze(): void;
  /** New connections go to another address from now on. */
  lead(url: string): void;
  /** How many connections there are. */
  open(): number;
};

/** The address of `url` by way of a proxy, whose connections can be lost or fall silent all at once. */
export async function startWire(url: string): Promise<Wire> {
  let target = new URL(url);
  const pairs = new Map<Socket, Socket>();
  const own = await listen((client) => {
    const server = connect(Number(target.port), target.hostname).on("error", () => client.destroy());
    pairs.set(client, server);
    client.on("close", () => {
      pairs.delete(client);
      server.destroy();
    });
    server.on("close", () => client.destroy());
    client.pipe(server).pipe(client);
  });
  const through = new URL(url);
  through.host = `127.0.0.1:${own}`;
  return {
    url: through.href,
    lose(how) {
      for (const client of pairs.keys()) how === "reset" ? client.resetAndDestroy() : client.destroy();
    },
    freeze() {
      for (const [client, server] of pairs) {
        client.unpipe(server).pause();
        server.unpipe(client).pause();
      }
    },
    lead(to) {
      target = new URL(to);
    },
    open: () => pairs.size,
  };
}

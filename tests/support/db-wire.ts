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

/** The address of `url` by way of a proxy, whose connections can be lost all at once. */
export async function startWire(url: string): Promise<{ url: string; lose(how: Loss): void }> {
  const { hostname, port } = new URL(url);
  const clients = new Set<Socket>();
  const own = await listen((client) => {
    const server = connect(Number(port), hostname).on("error", () => client.destroy());
    clients.add(client);
    client.on("close", () => {
      clients.delete(client);
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
      for (const client of clients) how === "reset" ? client.resetAndDestroy() : client.destroy();
    },
  };
}

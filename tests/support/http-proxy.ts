import type { AddressInfo } from "node:net";
import { connect, createServer, type Server, type Socket } from "node:net";

export type Wire = {
  /** The address that was given, by way of the proxy. */
  url: string;
  /** Cuts every connection and takes no new one. */
  cut(): Promise<void>;
  /** Takes every byte and every connection, and answers nothing. */
  freeze(): void;
  /** All is as it was at first. */
  mend(): Promise<void>;
  close(): Promise<void>;
};

/** A TCP proxy in front of the host and port of `target`: a network that a test can break. */
export async function startWire(target: string): Promise<Wire> {
  const { hostname, port } = new URL(target);
  const open = new Set<Socket>();
  let frozen = false;

  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(from);
      from.on("data", (data) => void (frozen || to.write(data)));
      from.on("error", () => to.destroy());
      from.on("close", () => {
        open.delete(from);
        to.destroy();
      });
    }
  });
  await listen(server, 0);
  const { port: own } = server.address() as AddressInfo;
  const url = new URL(target);
  url.host = `127.0.0.1:${own}`;

  async function cut(): Promise<void> {
    if (!server.listening) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of open) socket.destroy();
    await closed;
  }
  return {
    url: url.href,
    cut,
    freeze() {
      frozen = true;
    },
    async mend() {
      if (frozen) for (const socket of open) socket.destroy(); // what was swallowed never comes
      frozen = false;
      if (!server.listening) await listen(server, own);
    },
    close: cut,
  };
}

const listen = (server: Server, port: number) =>
  new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });

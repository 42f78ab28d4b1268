import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";

export type Prefixed = { url: string; close(): Promise<void> };

/** A proxy that shows a service under a path alone, and passes that on or takes it off, as proxies are set up to do. */
export async function startUnder(target: string, { path, keeps }: { path: string; keeps: boolean }): Promise<Prefixed> {
  const server = createServer((asked, answer) => {
    const { url = "", method, headers } = asked;
    if (!url.startsWith(`${path}/`)) return void answer.writeHead(418).end();
    const passed = request(target + (keeps ? url : url.slice(path.length)), { method, headers }, (response) => {
      answer.writeHead(response.statusCode ?? 502, response.headers);
      response.pipe(answer);
    });
    passed.on("error", () => answer.destroy());
    answer.on("close", () => passed.destroy());
    asked.pipe(passed);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

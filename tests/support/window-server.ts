import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export type WindowServer = {
  /** With `/v1`. */
  url: string;
  /** What each path answers from now on; any other is 404. */
  answer(answers: Record<string, unknown>): void;
  /** Whether it was asked all that there is to ask. */
  isDone(): boolean;
  close(): Promise<void>;
};

/** A server of models that tells, each in its own way, how large their windows are. */
export async function startWindowServer(): Promise<WindowServer> {
  let answers: Record<string, unknown> = {};
  const asked = new Set<string>();
  const server = createServer((request, response) => {
    const path = request.url ?? "";
    asked.add(path);
    const known = path in answers;
    response.writeHead(known ? 200 : 404, { "content-type": "application/json" });
    response.end(JSON.stringify(known ? answers[path] : { error: { message: "no" } }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    answer(given) {
      answers = given;
    },
    isDone: () => asked.has("/props") || (asked.has("/v1/models") && !("/v1/models" in answers)),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

import { createServer, request } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { runtimes } from "../support/models-dispatch.ts";
import { freshFolder, launchIn } from "../support/models-launch.ts";
import { type Provider, startProvider } from "../support/provider.ts";
import { runToEnd } from "../support/service.ts";

const ELSEWHERE = "http://provider.invalid/v1";

let provider: Provider;
let passed: string[] = [];
/** Takes everything to the fake provider, as a tunnel or call by call. */
const proxy = createServer((asked, response) => {
  passed.push(new URL(asked.url ?? "").host);
  const { pathname } = new URL(asked.url ?? "");
  const url = new URL(provider.openaiUrl).origin + pathname;
  const onward = request(
    url,
    { method: asked.method, headers: { ...asked.headers, host: new URL(url).host } },
    (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    },
  );
  asked.pipe(onward);
});
proxy.on("connect", (asked, socket) => {
  passed.push(String(asked.url).replace(/:80$/, ""));
  const onward = connect(Number(new URL(provider.openaiUrl).port), "127.0.0.1");
  socket.write("HTTP/1.1 200 OK\r\n\r\n");
  socket.pipe(onward).pipe(socket);
  for (const end of [socket, onward]) end.on("error", () => {});
});

beforeAll(async () => {
  provider = await startProvider();
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
});
beforeEach(() => {
  passed = [];
});
afterAll(async () => {
  proxy.close().closeAllConnections();
  await provider.close();
});

const at = () => `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;

describe.each(runtimes)("on %s a proxy of the environment", (runtime) => {
  async function sentWith(env: Record<string, string>): Promise<number> {
    const models = { MODELS: "fast=openai/a", OPENAI_API_KEY: "sk-1", FIRST_TOKEN_TIMEOUT_MS: "5000" };
    const service = await launchIn(freshFolder(), runtime, { ...models, ...env });
    return (await service.call("/api/chat/send", { message: "Hi", model: "fast" })).status;
  }

  it.each(["HTTP_PROXY", "http_proxy"])("is the way to a provider elsewhere (%s)", async (name) => {
    expect(await sentWith({ [name]: at(), OPENAI_BASE_URL: ELSEWHERE })).toBe(200);
    expect(passed).toContain("provider.invalid");
  });

  it("is no way to this machine, nor to what NO_PROXY names", async () => {
    expect(await sentWith({ HTTP_PROXY: at(), OPENAI_BASE_URL: provider.openaiUrl })).toBe(200);
    expect(await sentWith({ HTTP_PROXY: at(), NO_PROXY: "provider.invalid", OPENAI_BASE_URL: ELSEWHERE })).toBe(503);
    expect(passed).toEqual([]);
  });

  it("that is no address stops the start, and is not shown", async () => {
    const { code, output } = await runToEnd(runtime, { HTTPS_PROXY: "hunter2:3128" }, freshFolder());
    expect([code, output]).toEqual([1, expect.stringMatching(/^HTTPS_PROXY: must be [^\n]*\n$/)]);
    expect(output).not.toContain("hunter2");
  });
});

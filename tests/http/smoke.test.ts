import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startApp, type TestApp } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { type Provider, startProvider } from "../support/provider.ts";
import { startService } from "../support/service.ts";

describe.each(databases)("on $database", ({ fresh }) => {
  let app: TestApp;
  let provider: Provider;
  beforeAll(async () => {
    provider = await startProvider();
    app = await startApp({ DATABASE_URL: await fresh(), OPENAI_BASE_URL: provider.openaiUrl });
  });
  afterAll(async () => {
    await app.stop();
    await provider.close();
  });
  it("answers", async () => {
    const sent = await app.call("POST", "/api/chat/send", { message: "hello there" });
    expect(sent.json).toMatchObject({ message: "Echo: hello there", model: "openai/local-model" });
  });
});
describe.each(["node", "bun"] as const)("over a port on %s", (runtime) => {
  it("answers", async () => {
    const service = await startService(runtime, { DATABASE_URL: await databases[0].fresh() });
    const sent = await service.call("POST", "/api/chat/send", { message: "hello there" });
    expect(sent.json.message).toMatch("hello there");
    expect(await service.end()).toBe(0);
  });
});

import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { ProviderEvent } from "../../src/models/provider.ts";
import { runpod } from "../../src/models/runpod.ts";
import { createTransport, type Transport } from "../../src/models/transport.ts";
import { type Provider, startProvider } from "../support/provider.ts";
import { ENDPOINT } from "../support/runpod.ts";
import { KEY } from "../support/runpod-outputs.ts";
import { textOf } from "../support/runpod-setup.ts";

describe("the endpoint's OpenAI route", () => {
  let route: Provider;
  let transport: Transport;
  beforeAll(() => {
    transport = createTransport();
  });
  beforeEach(async () => {
    route = await startProvider();
    return () => route.close();
  });
  afterAll(() => transport.close());

  async function ask(...models: string[]): Promise<ProviderEvent[]> {
    const options = { apiKey: KEY, endpointId: ENDPOINT, input: "messages", transport } as const;
    const { provider } = runpod({ ...options, baseURL: `${route.groqUrl}/v2`, mode: "openai" });
    const messages = [{ role: "user" as const, content: "Hi" }];
    const signal = new AbortController().signal;
    const answers = [];
    for (const model of models) answers.push(await Array.fromAsync(provider({ model, messages }, signal)));
    return answers.flat();
  }

  it("is called with the key, for the model that was named", async () => {
    const events = await ask("org/a-model");
    expect([textOf(events), events.at(-1)]).toEqual(["Echo: Hi", { type: "end", finishReason: "stop" }]);
    expect(route.asked).toMatchObject([
      {
        path: `/v2/${ENDPOINT}/openai/v1/chat/completions`,
        authorization: `Bearer ${KEY}`,
        body: { model: "org/a-model", stream: true },
      },
    ]);
    expect(route.lists).toEqual([]);
  });

  it("is called for the model that it serves where the endpoint itself was named, and asked for it once", async () => {
    route.list(["org/served-model"]);
    await ask(ENDPOINT, ENDPOINT, "org/a-model");
    expect(route.asked.map(({ body }) => body.model)).toEqual(["org/served-model", "org/served-model", "org/a-model"]);
    expect(route.lists).toHaveLength(1);
  });

  it("that cannot list its models says itself what is wrong", async () => {
    route.list("failure");
    route.behave(() => ({ status: 401 }));
    await expect(ask(ENDPOINT)).rejects.toMatchObject({ status: 401 });
  });
});

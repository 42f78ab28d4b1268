import { afterAll, beforeAll } from "vitest";
import type { ProviderEvent, ProviderRequest } from "../../src/models/provider.ts";
import { type RunpodOptions, runpod } from "../../src/models/runpod.ts";
import { createTransport, type Transport } from "../../src/models/transport.ts";
import { ENDPOINT, type FakeRunpod, type Script, startRunpod } from "./runpod.ts";
import { KEY } from "./runpod-outputs.ts";

type Options = Partial<Omit<RunpodOptions, "transport">>;

export const REQUEST = { model: ENDPOINT, messages: [{ role: "user" as const, content: "How are you?" }] };

/** A fake RunPod for the tests of a file, and the provider at it. */
export function useRunpod() {
  let fake: FakeRunpod;
  let transport: Transport;
  beforeAll(async () => {
    fake = await startRunpod();
    transport = createTransport();
  });
  afterAll(async () => {
    await transport.close();
    await fake.close();
  });
  const at = (options: Options = {}) =>
    runpod({
      apiKey: KEY,
      endpointId: ENDPOINT,
      baseURL: fake.url,
      mode: "native",
      input: "messages",
      ...options,
      transport,
    });

  return {
    fake: () => fake,
    at,
    /** What the provider tells of one call, while and after it runs; a failure that it throws is told by `last`. */
    ask(
      script: Partial<Script>,
      { signal = new AbortController().signal, request = REQUEST, ...options }: AskOptions = {},
    ) {
      fake.behave(() => ({ life: [{ status: "COMPLETED" }], ...script }));
      const events: ProviderEvent[] = [];
      const run = async () => {
        for await (const event of at(options).provider(request, signal)) events.push(event);
        return events;
      };
      return { events, all: run() };
    },
  };
}

type AskOptions = Options & { signal?: AbortSignal; request?: ProviderRequest };

export const textOf = (events: readonly ProviderEvent[]) =>
  events.map((event) => (event.type === "delta" ? event.text : "")).join("");
export const statusesOf = (events: readonly ProviderEvent[]) =>
  events.filter((event) => event.type === "status").map(({ status }) => status);

import type { TestContext } from "vitest";
import type { Called } from "./app.ts";
import { databases } from "./databases.ts";
import { PATIENT_WITH_PROVIDERS, type Provider, startProvider } from "./provider.ts";
import { type Runtime, type Service, startService } from "./service.ts";

const worldsOf = (...runtimes: Runtime[]) =>
  runtimes.flatMap((runtime) => databases.map(({ database, fresh }) => ({ runtime, database, fresh })));

/** Both runtimes with every database, for `describe.each`. */
export const worlds = worldsOf("node", "bun");

/** The same with the binary, which is Bun again: for what would fail if something were missing in it. */
export const allWorlds = worldsOf("node", "bun", "binary");

export type Message = { id: string; role: "user" | "assistant"; content: string };

type Test = Pick<TestContext, "onTestFinished" | "signal">;

/** A provider that is closed at the end of the test. */
export async function providerForTest({ onTestFinished }: Test): Promise<Provider> {
  const provider = await startProvider();
  onTestFinished(() => provider.close());
  return provider;
}

type Setting = { runtime: Runtime; url: string; provider: Provider; env?: Record<string, string> };

/** A service over `url` that asks `provider`, and whose process is gone at the end of the test, also if its time ran out. */
export async function serviceForTest(test: Test, { runtime, url, provider, env = {} }: Setting): Promise<Service> {
  test.signal.throwIfAborted();
  const own = { DATABASE_URL: url, OPENAI_BASE_URL: provider.openaiUrl, ...PATIENT_WITH_PROVIDERS };
  const service = await startService(runtime, { ...own, ...env });
  if (test.signal.aborted) await service.end("SIGKILL");
  test.signal.throwIfAborted();
  test.onTestFinished(async () => void (await service.end("SIGKILL")));
  return service;
}

/** Sends until the queue has room: a refused message was not stored. */
export async function sendUntilRoom(service: Service, chat_id: string, message: string): Promise<Called> {
  for (;;) {
    const sent = await service.call("POST", "/chat", { chat_id, message });
    if (sent.status !== 429) return sent;
  }
}

/** Question and answer in turn, as they are listed. */
export const pairsOf = (messages: readonly Message[]): (string | undefined)[][] =>
  messages.flatMap(({ content }, i) => (i % 2 === 0 ? [[content, messages[i + 1]?.content]] : []));

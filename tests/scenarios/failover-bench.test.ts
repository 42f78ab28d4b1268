import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { databases } from "../support/databases.ts";
import { type Asked, event, type Provider, type Script, startProvider } from "../support/provider.ts";
import { type Service, startService } from "../support/service.ts";

// The sixteen faults of the Failover Bench catalogue (methodology 0.1): a provider that misbehaves, and another one behind
// it. A case passes where the caller gets a whole answer, or the clean error that is right, and nobody is hammered.

const WORDS = Array.from({ length: 60 }, (_, i) => `word${i} `);
const PRIMARY = WORDS.join("");
const FALLBACK = "The fallback answers, whole.";

type Case = {
  id: string;
  fault: string;
  /** What the primary does on its n-th request, from 1. */
  primary: (nth: number) => Script;
  /** Whose whole answer the caller gets; or the code of the clean error. */
  gets: "primary" | "fallback" | { error: string };
  /** Requests that the primary may be sent. */
  calls: { least: number; most: number };
};

const healthy: Script = { text: WORDS };
const refuses = (status: number, code: string | null = null, headers: Record<string, string> = {}): Script => ({
  status,
  headers,
  error: { error: { message: "no", type: "error", code } },
});
const once = (script: Script) => (nth: number) => (nth === 1 ? script : healthy);
const always = (script: Script) => () => script;
const garbled = WORDS.map((content, i) =>
  i === 9 ? 'data: {"choices": [\n\n' : event({ choices: [{ delta: { content } }] }),
).join("");

const cases: Case[] = [
  {
    id: "S01",
    fault: "429 with Retry-After",
    primary: once(refuses(429, "slow_down", { "retry-after": "1" })),
    gets: "primary",
    calls: { least: 2, most: 2 },
  },
  { id: "S02", fault: "429 for ever", primary: always(refuses(429)), gets: "fallback", calls: { least: 1, most: 3 } },
  { id: "S03", fault: "500 once", primary: once(refuses(500)), gets: "primary", calls: { least: 2, most: 2 } },
  { id: "S04", fault: "503 for ever", primary: always(refuses(503)), gets: "fallback", calls: { least: 1, most: 3 } },
  {
    id: "S05",
    fault: "reset before headers",
    primary: once({ reset: true }),
    gets: "primary",
    calls: { least: 2, most: 2 },
  },
  {
    id: "S06",
    fault: "no response at all",
    primary: always({ headersAfter: Infinity }),
    gets: "fallback",
    calls: { least: 1, most: 1 },
  },
  {
    id: "S07",
    fault: "a first token that does not come",
    primary: always({ text: [], afterwards: "stall" }),
    gets: "fallback",
    calls: { least: 1, most: 1 },
  },
  {
    id: "S08",
    fault: "a stream that is cut",
    primary: always({ text: WORDS.slice(0, 40), afterwards: "cut" }),
    gets: "fallback",
    calls: { least: 1, most: 1 },
  },
  {
    id: "S09",
    fault: "a stream that stalls",
    primary: always({ text: WORDS.slice(0, 20), afterwards: "stall" }),
    gets: "fallback",
    calls: { least: 1, most: 1 },
  },
  {
    id: "S10",
    fault: "a chunk that is no JSON",
    primary: always({ text: [], raw: garbled }),
    gets: "fallback",
    calls: { least: 1, most: 1 },
  },
  {
    id: "S11",
    fault: "no [DONE]",
    primary: always({ ...healthy, done: false }),
    gets: "primary",
    calls: { least: 1, most: 1 },
  },
  {
    id: "S12",
    fault: "a prompt that is too long",
    primary: always(refuses(400, "context_length_exceeded")),
    gets: "fallback",
    calls: { least: 1, most: 1 },
  },
  {
    id: "S13",
    fault: "content that is refused",
    primary: always(refuses(400, "content_policy_violation")),
    gets: { error: "content_refused" },
    calls: { least: 1, most: 1 },
  },
  {
    id: "S14",
    fault: "a cut before a fallback that takes no beginning of an answer",
    primary: always({ text: WORDS.slice(0, 40), afterwards: "cut" }),
    gets: "fallback",
    calls: { least: 1, most: 1 },
  },
];

describe.each(["node", "bun"] as const)("Failover Bench on %s", (runtime) => {
  let provider: Provider;
  let service: Service;
  beforeAll(async () => {
    provider = await startProvider();
    const ids = [...cases.map(({ id }) => id), "S15", "S16"];
    service = await startService(runtime, {
      DATABASE_URL: await databases[0].fresh(),
      SQLITE_SYNCHRONOUS: "normal",
      OPENAI_API_KEY: "key",
      OPENAI_BASE_URL: provider.openaiUrl,
      GROQ_API_KEY: "key",
      GROQ_BASE_URL: provider.groqUrl,
      MODELS: ids.map((id) => `${id}=openai/${id},groq/fallback-${id}`).join(";"),
      FIRST_TOKEN_TIMEOUT_MS: "2000",
      IDLE_TIMEOUT_MS: "2000",
    });
    await service.call("POST", "/api/chat/send", { message: "warm up", model: "openai/warm" });
  });
  afterAll(async () => {
    await service.end("SIGKILL");
    await provider.close();
  });

  const isPrimary = ({ body }: Asked) => !body.model.startsWith("fallback");

  /** The primary behaves so; the fallback refuses an assistant's beginning of an answer, and answers all else. */
  function behave(primary: (nth: number) => Script): () => number {
    let calls = 0;
    provider.behave((asked) => {
      if (asked.body.model === "warm") return healthy;
      if (isPrimary(asked)) return primary(++calls);
      return asked.body.messages.at(-1)?.role === "assistant" ? refuses(400) : { text: [FALLBACK] };
    });
    return () => calls;
  }

  const send = (model: string) => service.call("POST", "/api/chat/send", { message: "Why trust a gateway?", model });

  it.each(cases)("$id: $fault", async ({ id, primary, gets, calls }) => {
    const made = behave(primary);
    const sent = await send(id);
    if (typeof gets === "object") expect(sent.json).toMatchObject({ status: 422, code: gets.error });
    else expect(sent.json).toMatchObject({ message: gets === "primary" ? PRIMARY : FALLBACK });
    expect(made()).toBeGreaterThanOrEqual(calls.least);
    expect(made()).toBeLessThanOrEqual(calls.most);
    const after = await service.call("POST", "/api/chat/send", { message: "still there?", model: "openai/warm" });
    expect(after.status, "the service is well").toBe(200);
  });

  it("S15: a primary that is down and then healthy is served around, and is back", async () => {
    let isDown = true;
    const made = behave(() => (isDown ? refuses(503) : healthy));
    for (let i = 0; i < 20; i++) expect((await send("S15")).json).toMatchObject({ message: FALLBACK });
    expect(made(), "three calls, then probes alone").toBeLessThan(20);
    isDown = false;
    await expect.poll(async () => (await send("S15")).json.message, { timeout: 60_000, interval: 200 }).toBe(PRIMARY);
    expect((await send("S15")).json.message).toBe(PRIMARY);
  });

  it("S16: what the fallback answered is told and billed as the fallback's", async () => {
    behave(always(refuses(503)));
    const sent = await service.call("POST", "/generate-response", { message: "Who pays?", model: "S16" });
    const turn = (await service.call("GET", `/api/v1/turns/${sent.json.turn_id}`)).json;
    expect(turn).toMatchObject({ model: "S16", target: "groq/fallback-S16", usage: { estimated: false } });
    expect(turn.attempts.filter(({ outcome }: { outcome: string }) => outcome !== "completed")).toHaveLength(3);
    expect(turn.usage, "of the attempt that answered alone").toEqual({
      input_tokens: 11,
      output_tokens: 7,
      estimated: false,
    });
  });
});

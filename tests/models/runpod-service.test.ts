import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startApp, type TestApp } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { ENDPOINT, type FakeRunpod, startRunpod } from "../support/runpod.ts";
import { completion, KEY, sse, TRACEBACK, tokens } from "../support/runpod-outputs.ts";
import { type Service, startService } from "../support/service.ts";

type Running = Pick<TestApp, "call"> & { stop(): Promise<unknown>; logged: string[] };

const onBun = async (env: Record<string, string>): Promise<Running> => {
  const service: Service = await startService("bun", env);
  return { ...service, stop: () => service.end() };
};
const inProcess = async (env: Record<string, string>): Promise<Running> => ({ ...(await startApp(env)), logged: [] });

const worlds = [
  { where: "in this process", start: inProcess },
  { where: "on Bun, over a real port", start: onBun },
];

const TARGET = `runpod/${ENDPOINT}`;
const working = { status: "IN_PROGRESS" };

describe.each(worlds)("a service whose only provider is RunPod, $where", ({ start }) => {
  let runpod: FakeRunpod;
  let service: Running;
  beforeAll(async () => {
    runpod = await startRunpod();
    const env = { RUNPOD_API_KEY: KEY, RUNPOD_ENDPOINT_ID: ENDPOINT, RUNPOD_BASE_URL: runpod.url };
    service = await start({
      DATABASE_URL: (await databases[0]?.fresh()) ?? "",
      LAST_FIRST_TOKEN_TIMEOUT_MS: "4000",
      IDLE_TIMEOUT_MS: "4000",
      ...env,
    });
  });
  afterAll(async () => {
    await service?.stop();
    await runpod?.close();
  });

  async function chat(): Promise<string> {
    return (await service.call("POST", "/chats", { user_id: "ann" })).json.id;
  }
  const send = async (message: string, more: object = {}) =>
    service.call("POST", "/chat", { chat_id: await chat(), user_id: "ann", message, ...more });

  it.each([undefined, "fast", "balanced", "smart", TARGET])("answers with it for the model %s", async (model) => {
    runpod.behave(() => ({
      life: [{ status: "IN_QUEUE" }, { ...working, puts: [tokens(["Good ", "day"])] }, { status: "COMPLETED" }],
    }));
    const { status, json } = await send("Hello", { model });
    expect([status, json]).toEqual([200, expect.objectContaining({ reply: "Good day", model: TARGET })]);
  });

  it("starts a job in the trace of its request", async () => {
    const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
    const traced = { traceparent: `00-${traceId}-00f067aa0ba902b7-01` };
    await service.call("POST", "/generate-response", { message: "Hello" }, traced);
    expect(runpod.jobs.at(-1)?.headers["traceparent"]).toMatch(
      new RegExp(`^00-${traceId}-(?!00f067aa0ba902b7)[0-9a-f]{16}-01$`),
    );
  });

  it("gives a job the temperature and the limit of its turn, and tells it the turn's system prompt", async () => {
    runpod.behave(() => ({ life: [{ status: "COMPLETED", puts: [tokens(["Ahoy"])] }] }));
    await send("Hello", { temperature: 0.25, max_tokens: 50, system_prompt: "Answer as a pirate." });
    expect(runpod.jobs.at(-1)?.input).toMatchObject({
      sampling_params: { temperature: 0.25, max_tokens: 50 },
      messages: [
        { role: "system", content: "Answer as a pirate." },
        { role: "user", content: "Hello" },
      ],
    });
  });

  it("names it among the usable models", async () => {
    const { json } = await service.call("GET", "/models");
    expect(json.providers).toContain("runpod");
    expect(json.aliases).toContainEqual(
      expect.objectContaining({
        alias: "balanced",
        usable: true,
        targets: [expect.objectContaining({ target: TARGET, usable: true })],
      }),
    );
  });

  it("gives whole characters of a stream that was cut inside them", async () => {
    const text = sse(["Grö", "ße 😀"]);
    const at = text.indexOf("😀") + 1;
    runpod.behave(() => ({
      life: [
        { ...working, puts: [text.slice(0, at)] },
        { ...working, puts: [text.slice(at)] },
        { status: "COMPLETED" },
      ],
    }));
    expect((await send("Hello")).json.reply).toBe("Größe 😀");
  });

  it("waits for a cold start that is longer than the silence it would bear", async () => {
    const life = [...Array(9).fill({ status: "IN_QUEUE" }), { status: "COMPLETED", puts: [[completion("At last")]] }];
    runpod.behave(() => ({ life, workers: { initializing: 1 } }));
    expect((await send("Hello")).json.reply).toBe("At last");
  });

  it("tells a caller of a failed job that it failed, keeps the question, and shows nothing of the worker's error", async () => {
    runpod.behave(() => ({ life: [{ status: "FAILED" }], result: TRACEBACK }));
    const chat_id = await chat();
    const sent = await service.call("POST", "/chat", { chat_id, user_id: "ann", message: "Hello" });
    const kept = await service.call("GET", `/chats/${chat_id}/messages?user_id=ann`);
    expect([sent.status, sent.json.code]).toEqual([502, "provider_failed"]);
    expect(kept.json.map(({ content }: { content: string }) => content)).toEqual(["Hello"]);
    for (const text of [sent.text, ...service.logged]) {
      expect(text).not.toContain(KEY);
      expect(text).not.toMatch(/Traceback|CUDA/);
    }
  });

  it("cancels the job of a turn that is given up, and leaves no connection open", async () => {
    runpod.behave(() => ({ life: [{ status: "IN_QUEUE" }, working] }));
    const [jobs, before] = [runpod.jobs.length, runpod.cancelled.length];
    const chat_id = await chat();
    const sent = service.call("POST", "/chat", { chat_id, user_id: "ann", message: "Hello" });
    await expect.poll(() => runpod.jobs.length).toBe(jobs + 1);
    await service.call("DELETE", `/chats/${chat_id}?user_id=ann`);
    expect((await sent).status).not.toBe(200);
    await expect.poll(() => runpod.cancelled.slice(before)).toEqual([runpod.jobs.at(-1)?.id]);
    await expect.poll(runpod.open).toBe(0);
  });

  it("cancels the job of a turn that is given up before the job's id is known", async () => {
    const { promise: runAfter, resolve } = Promise.withResolvers<void>();
    runpod.behave(() => ({ life: [working], runAfter }));
    const [jobs, before] = [runpod.jobs.length, runpod.cancelled.length];
    const chat_id = await chat();
    const sent = service.call("POST", "/chat", { chat_id, user_id: "ann", message: "Hello" });
    await expect.poll(() => runpod.jobs.length).toBe(jobs + 1);
    await service.call("DELETE", `/chats/${chat_id}?user_id=ann`);
    expect((await sent).status).not.toBe(200);
    resolve();
    await expect.poll(() => runpod.cancelled.slice(before)).toEqual([runpod.jobs.at(-1)?.id]);
    await expect.poll(runpod.open).toBe(0);
  });

  it("cancels the job of a turn that was silent for too long", async () => {
    runpod.behave(() => ({ life: [{ status: "IN_QUEUE" }, working] }));
    const before = runpod.cancelled.length;
    const { status, json } = await send("Hello");
    expect([status, json.code]).toEqual([504, "provider_timeout"]);
    await expect.poll(() => runpod.cancelled.slice(before)).toEqual([runpod.jobs.at(-1)?.id]);
  });
});

it.each(["node", "bun"] as const)(
  "a service on %s that is stopped cancels the jobs that still run",
  async (runtime) => {
    const runpod = await startRunpod();
    runpod.behave(() => ({ life: [{ status: "IN_QUEUE" }, working] }));
    const env = {
      RUNPOD_API_KEY: KEY,
      RUNPOD_ENDPOINT_ID: ENDPOINT,
      RUNPOD_BASE_URL: runpod.url,
      DRAIN_TIMEOUT_S: "0",
    };
    const service = await startService(runtime, { DATABASE_URL: ":memory:", ...env });
    const sent = service.call("POST", "/api/chat/send", { message: "Hello" });
    await expect.poll(() => runpod.polls.length).toBeGreaterThan(1);
    const code = await service.end();
    const { cancelled, jobs } = runpod;
    await runpod.close();
    expect((await sent).status).not.toBe(200);
    expect([code, cancelled]).toEqual([0, jobs.map(({ id }) => id)]);
  },
);

import { beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { startHttp } from "../support/http-app.ts";
import { useApp } from "../support/http-setup.ts";
import { openStream } from "../support/http-stream.ts";
import { grown, type Sample, samplesIn, valueAt } from "../support/metric-samples.ts";

const ALIASES = "two=openai/first,openai/second;balanced=openai/first";
const ALICE = "alice-of-the-metrics";
const call = (model: string) => ({
  gen_ai_operation_name: "chat",
  gen_ai_provider_name: "openai",
  gen_ai_request_model: model,
});

describe.each(databases)("what is counted on $database", ({ database, fresh }) => {
  const parts = useApp({ JWT_SECRET: SECRET, MODELS: ALIASES }, fresh);
  let alice: Record<string, string>;
  let admin: Record<string, string>;
  beforeAll(async () => {
    [alice, admin] = [await as(ALICE), await as("root", "admin")];
  });

  const text = async () => (await parts.app.call("GET", "/metrics", undefined, admin)).text;
  const read = async (): Promise<Sample[]> => samplesIn(await text());
  const send = (body: object = {}) => parts.app.call("POST", "/api/chat/send", { message: "Hello", ...body }, alice);

  /** What grows of a metric while something is done. */
  async function during(work: () => Promise<unknown>) {
    const before = await read();
    await work();
    const after = await read();
    return (name: string) => grown(before, after, name);
  }

  it("a turn that is answered: the turn, its call, its tokens, its request and its writes", async () => {
    const counted = await during(() => send());
    const labels = call("first");
    const tokens = { ...labels, estimated: "false" };
    expect(counted("parley_turns_total")).toEqual([
      { model: "balanced", target: "openai/first", outcome: "completed", by: 1 },
    ]);
    expect(counted("parley_turn_overhead_seconds_count")).toEqual([{ by: 1 }]);
    expect(counted("parley_attempts_total")).toEqual([{ target: "openai/first", outcome: "completed", by: 1 }]);
    expect(counted("gen_ai_client_operation_duration_count")).toEqual([{ ...labels, by: 1 }]);
    expect(counted("gen_ai_client_operation_time_to_first_chunk_count")).toEqual([{ ...labels, by: 1 }]);
    expect(counted("gen_ai_client_token_usage_sum")).toEqual([
      { ...tokens, gen_ai_token_type: "input", by: 11 },
      { ...tokens, gen_ai_token_type: "output", by: 7 },
    ]);
    expect(counted("parley_http_request_duration_seconds_count")).toContainEqual({
      ...{ method: "POST", route: "/api/chat/send", status: "200" },
      by: 1,
    });
    expect(counted("parley_db_write_duration_seconds_count")).toEqual([
      { write: "begin", by: 1 },
      { write: "finish", by: 1 },
    ]);
    expect(counted("parley_db_commit_batches_sum")).toEqual(database === "SQLite" ? [{ by: 2 }] : []);
  });

  it("a turn that another target rescues: both attempts, and the turn where it was answered", async () => {
    parts.provider.behave(({ body }) => (body.model === "first" ? { status: 401 } : {}));
    const counted = await during(() => send({ model: "two" }));
    expect(counted("parley_attempts_total")).toEqual([
      { target: "openai/first", outcome: "auth", by: 1 },
      { target: "openai/second", outcome: "completed", by: 1 },
    ]);
    expect(counted("gen_ai_client_operation_duration_count")).toEqual([
      { ...call("first"), error_type: "auth", by: 1 },
      { ...call("second"), by: 1 },
    ]);
    expect(counted("gen_ai_client_operation_time_to_first_chunk_count")).toEqual([{ ...call("second"), by: 1 }]);
    expect(counted("parley_turns_total")).toEqual([
      { model: "two", target: "openai/second", outcome: "completed", by: 1 },
    ]);
  });

  it("a turn that nobody answers: its error, and the status of its request", async () => {
    parts.provider.behave(() => ({ status: 400 }));
    const counted = await during(() => send());
    expect(counted("parley_turns_total")).toEqual([
      { model: "balanced", target: "openai/first", outcome: "provider_failed", by: 1 },
    ]);
    expect(counted("parley_http_request_duration_seconds_count")).toContainEqual({
      ...{ method: "POST", route: "/api/chat/send", status: "502" },
      by: 1,
    });
    expect(counted("gen_ai_client_token_usage_count")).toEqual([]);
  });

  it("turns that run, wait and are cancelled, and the streams that are open", async () => {
    const open = async () => {
      const samples = await read();
      const turns = (state: string) => valueAt(samples, "parley_turns_open", { state });
      return [turns("running"), turns("queued"), valueAt(samples, "parley_streams_open")];
    };
    const { conversation_id } = (await send()).json;
    parts.provider.behave(() => ({ text: ["Well"], afterwards: "stall" }));
    const ask = { message: "And?", conversation_id, stream: true };
    expect(await open()).toEqual([0, 0, 0]);
    const running = await openStream(parts.app, "POST", "/api/chat/send", ask, alice);
    const waiting = await openStream(parts.app, "POST", "/api/chat/send", ask, alice);
    const [[first], [second]] = [await running.until("message.delta"), await waiting.until("turn.started")];
    expect(await open()).toEqual([1, 1, 2]);
    await waiting.leave();
    expect(await open()).toEqual([1, 1, 1]);
    const counted = await during(async () => {
      for (const frame of [second, first]) {
        const path = `/api/v1/turns/${frame?.data.turn_id}/cancel`;
        expect((await parts.app.call("POST", path, undefined, alice)).status).toBe(200);
      }
      await running.end();
    });
    expect(await open()).toEqual([0, 0, 0]);
    expect(counted("parley_turns_total")).toEqual(
      expect.arrayContaining([
        { model: "balanced", target: "none", outcome: "turn_cancelled", by: 1 },
        { model: "balanced", target: "openai/first", outcome: "turn_cancelled", by: 1 },
      ]),
    );
    expect(counted("parley_attempts_total")).toEqual([{ target: "openai/first", outcome: "cancelled", by: 1 }]);
    const usage = { ...call("first"), estimated: "true" };
    expect(counted("gen_ai_client_token_usage_count")).toEqual([
      { ...usage, gen_ai_token_type: "input", by: 1 },
      { ...usage, gen_ai_token_type: "output", by: 1 },
    ]);
  });

  it("of a turn's time what the service took itself: no wait for the provider, and none in line", async () => {
    const WAIT_S = 100;
    let waited = 0;
    const real = performance.now.bind(performance);
    const clock = vi.spyOn(performance, "now").mockImplementation(() => real() + waited);
    onTestFinished(() => clock.mockRestore());
    const { conversation_id } = (await send()).json;
    const stored = async () =>
      (await parts.app.call("GET", `/chats/${conversation_id}`, undefined, alice)).json.message_count;
    const before = async () => {
      await expect.poll(stored).toBeGreaterThanOrEqual(4); // both questions: the second is in line, or asks
      for (let i = 0; i < 3; i++) await stored();
      waited += WAIT_S * 1000;
    };
    parts.provider.behave(() => ({ text: ["Slow"], before }));
    const both = () => Promise.all([send({ conversation_id }), send({ conversation_id })]);
    const [own] = (await during(both))("parley_turn_overhead_seconds_sum");
    // One waited for the provider once; the other twice, of which once in line.
    expect(own?.by).toBeLessThan(WAIT_S);
    expect(own?.by).toBeGreaterThan(0);
  });

  it("the breaker of each target", async () => {
    const states = async () => {
      const samples = await read();
      const [open, closed] = ["open", "closed"].map((state) =>
        valueAt(samples, "parley_breaker_state", { target: "openai/first", state }),
      );
      return { open, closed };
    };
    expect(await states()).toEqual({ open: 0, closed: 1 });
    const limited = { status: 429, headers: { "retry-after": "60" } };
    parts.provider.behave(({ body }) => (body.model === "first" ? limited : {}));
    await send({ model: "two" });
    expect(await states()).toEqual({ open: 1, closed: 0 });
  });

  it("under no name that a client makes up", async () => {
    const ask = async (nth: number) => {
      const name = `made-up-${nth}`;
      parts.provider.behave(() => ({ status: nth % 2 === 0 ? 400 : 200, error: {} }));
      await send({ model: `openai/${name}` });
      await send({ model: name });
      await parts.app.call("GET", `/${name}`, undefined, alice);
      await parts.app.call("GET", `/chats/${name}?user_id=${name}`, undefined, alice);
      await parts.app.request(`/chats`, { method: "PROPFIND", headers: alice });
      await parts.app.request(`/chats`, { method: name.toUpperCase(), headers: alice });
    };
    for (const nth of [1, 2]) await ask(nth);
    const before = await read();
    for (const nth of [3, 4, 5, 6]) await ask(nth);
    const after = await read();
    expect(after.map(({ name, labels }) => [name, labels])).toEqual(before.map(({ name, labels }) => [name, labels]));
    const others = after.filter(({ name, labels }) => name === "parley_turns_total" && labels["model"] === "other");
    expect(others).toContainEqual(
      expect.objectContaining({ labels: expect.objectContaining({ target: "openai/other" }) }),
    );
  });

  it("under the labels that are documented, which hold no ids and no words", async () => {
    const own = (await read()).filter(({ name }) => /^(parley|gen_ai)_/.test(name) && !name.endsWith("_bucket"));
    const labels = new Map<string, Set<string>>();
    for (const one of own) {
      const name = one.name.replace(/_(sum|count)$/, "");
      labels.set(name, new Set([...(labels.get(name) ?? []), ...Object.keys(one.labels)]));
    }
    const called = ["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"];
    expect(Object.fromEntries([...labels].map(([name, set]) => [name, [...set].sort()]))).toEqual({
      gen_ai_client_operation_duration: ["error_type", ...called],
      gen_ai_client_operation_time_to_first_chunk: called,
      gen_ai_client_token_usage: ["estimated", ...called, "gen_ai_token_type"],
      parley_attempts_total: ["outcome", "target"],
      parley_breaker_state: ["state", "target"],
      parley_db_commit_batches: [],
      parley_db_write_duration_seconds: ["write"],
      parley_http_request_duration_seconds: ["method", "route", "status"],
      parley_streams_open: [],
      parley_turn_overhead_seconds: [],
      parley_turns_open: ["state"],
      parley_turns_total: ["model", "outcome", "target"],
    });
    const written = await text();
    expect(written).not.toMatch(/[0-9a-f]{8}-[0-9a-f]{4}-/);
    for (const word of [ALICE, "root", "Hello", "made-up", "MADE-UP"]) expect(written).not.toContain(word);
  });
});

describe("a service's metrics", () => {
  const parts = useApp({ MODELS: ALIASES });

  it("are its own, beside another in the same process", async () => {
    const other = await startHttp({ DATABASE_URL: await databases[0].fresh() });
    try {
      await parts.app.call("POST", "/api/chat/send", { message: "Hello" });
      const [mine, others] = await Promise.all(
        [parts.app, other].map(async (app) => samplesIn((await app.call("GET", "/metrics")).text)),
      );
      expect(grown([], mine ?? [], "parley_turns_total")).toHaveLength(1);
      expect(grown([], others ?? [], "parley_turns_total")).toEqual([]);
    } finally {
      await other.stop();
    }
  });

  it("call a target that stands for a server's first model by that model's name, and no other by its own", async () => {
    const own = await startHttp({
      DATABASE_URL: await databases[0].fresh(),
      OPENAI_BASE_URL: parts.provider.openaiUrl,
    });
    try {
      const read = async () => samplesIn((await own.call("GET", "/metrics")).text);
      let samples = await read();
      const targets = (name: string) =>
        new Set(samples.filter((one) => one.name === name).map((one) => one.labels["target"]));
      expect(targets("parley_breaker_state")).toEqual(new Set(["openai/*"]));
      await own.call("POST", "/api/chat/send", { message: "Hello" });
      await own.call("POST", "/api/chat/send", { message: "Hello", model: "openai/other-model" });
      samples = await read();
      expect(targets("parley_attempts_total")).toEqual(new Set(["openai/local-model", "openai/other"]));
      expect(targets("parley_turns_total")).toEqual(new Set(["openai/local-model", "openai/other"]));
      expect(targets("parley_breaker_state")).toEqual(new Set(["openai/local-model"]));
    } finally {
      await own.stop();
    }
  });
});

import { afterAll, beforeAll, describe, expect, it, type TestContext } from "vitest";
import { startApp, type TestApp } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { until } from "../support/story-until.ts";
import { type FakeStream, startStream } from "../support/stream.ts";
import { mirrored, shownIn } from "../support/stream-mirror.ts";

const user = { sender_type: "user", sender_id: "ada" };

type Ending = Pick<TestContext, "onTestFinished">;

async function fakeForTest(
  { onTestFinished }: Ending,
  options: Parameters<typeof startStream>[0] = {},
): Promise<FakeStream> {
  const fake = await startStream(options);
  onTestFinished(() => fake.close());
  return fake;
}

async function appForTest({ onTestFinished }: Ending, env: Record<string, string>): Promise<TestApp> {
  const app = await startApp(env);
  onTestFinished(() => app.stop());
  return app;
}

describe.each(databases)("with $database, Stream", ({ fresh }) => {
  async function talk(app: TestApp) {
    const { id } = (await app.call("POST", "/api/v1/sessions", { user_id: "ada" })).json;
    const say = (content: string) => app.call("POST", `/api/v1/sessions/${id}/messages`, { content, ...user });
    return { id, say };
  }

  it.concurrent("that is away holds up nobody, and has all of it when it is back, in the order of the thread", async (test) => {
    const fake = await fakeForTest(test);
    const app = await appForTest(test, { DATABASE_URL: await fresh(), ...fake.env });
    const { id, say } = await talk(app);
    const first = (await say("One")).json;
    await mirrored(app, fake, id);
    await fake.down();
    for (const text of ["Two", "Three", "Four"]) expect((await say(text)).status).toBe(201);
    await app.call("PATCH", `/api/v1/messages/${first.id}`, { content: "One, edited" });
    const behind = async () => (await app.call("GET", "/api/v1/stream/status")).json;
    await until("an error", async () => (await behind()).conversations[0]?.error === "unavailable");
    const status = await behind();
    expect(status).toMatchObject({ mirror: "all", waiting: 1, conversations: [{ conversation_id: id }] });
    expect(status.conversations[0].rev).toBeGreaterThan(status.conversations[0].mirrored);
    await fake.up();
    await mirrored(app, fake, id);
    await until("nothing to wait", async () => (await behind()).waiting === 0);
    expect((await behind()).events).toEqual({ waiting: 0, oldest_at: null });
    expect((await behind()).quota.SendMessage.remaining).toBeGreaterThan(0);
  });

  it.concurrent("that does what it is asked and cannot say so is told again, and has nothing twice", async (test) => {
    const fake = await fakeForTest(test);
    let calls = 0;
    fake.behave(() => ([4, 6, 11].includes(++calls) ? { done: true, how: "cut" } : undefined));
    const app = await appForTest(test, { DATABASE_URL: await fresh(), ...fake.env });
    const { id, say } = await talk(app);
    await say("One");
    await say("Long ".repeat(2_500));
    const channel = await mirrored(app, fake, id);
    expect(new Set(channel.messages.map((one) => one.id)).size).toBe(channel.messages.length);
    expect(channel.messages).toHaveLength(4);
  });

  it.concurrent("that has heard enough for now is left alone until it has room again", async (test) => {
    const fake = await fakeForTest(test, { windowMs: 5_000 });
    fake.limit("SendMessage", 3);
    const app = await appForTest(test, { DATABASE_URL: await fresh(), ...fake.env });
    const { id, say } = await talk(app);
    await fake.down();
    for (let i = 0; i < 5; i++) await say(`Message ${i}`);
    await fake.up(); // so that it hears all of them in one window
    await mirrored(app, fake, id);
    const refused = fake.calls.filter(({ code }) => code === 9);
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.length).toBeLessThan(5);
  });

  it.concurrent("that is new is shown a conversation from before as a whole once it changes, and no other", async (test) => {
    const url = await fresh();
    const without = await startApp({ DATABASE_URL: url });
    const [old, untouched] = [await talk(without), await talk(without)];
    await old.say("Long ago");
    await without.stop();
    const fake = await fakeForTest(test);
    const app = await appForTest(test, { DATABASE_URL: url, ...fake.env });
    await app.call("POST", `/api/v1/sessions/${old.id}/messages`, { content: "Today", ...user });
    await mirrored(app, fake, old.id);
    expect(shownIn(fake, old.id)?.map(({ text }) => text)).toEqual(["Long ago", "Today"]);
    expect(fake.channel(untouched.id)).toBeUndefined();
  });

  it.concurrent("has only what people are in, if that is wished, and then from its beginning", async (test) => {
    const fake = await fakeForTest(test);
    const app = await appForTest(test, { DATABASE_URL: await fresh(), ...fake.env, STREAM_MIRROR: "sessions" });
    const sent = (await app.call("POST", "/api/chat/send", { message: "Alone" })).json;
    const live = await talk(app);
    await live.say("Together");
    await mirrored(app, fake, live.id);
    await until("nothing to wait", async () => (await app.call("GET", "/api/v1/stream/status")).json.waiting === 0);
    expect(fake.channel(sent.conversation_id)).toBeUndefined();
    await app.call("POST", `/api/v1/sessions/${sent.conversation_id}/transfer`, { to: "agent" });
    await mirrored(app, fake, sent.conversation_id);
    expect(shownIn(fake, sent.conversation_id)?.map(({ text }) => text)).toEqual(
      expect.arrayContaining(["Alone", sent.message]),
    );
  });
});

it.concurrent("agents leave the channel, whichever of two instances had shown that they came", async (test) => {
  const fake = await fakeForTest(test);
  const env = { DATABASE_URL: await databases[1].fresh(), ...fake.env };
  const [one, other] = [await appForTest(test, env), await appForTest(test, env)];
  async function comeAndGo() {
    const { id } = (await one.call("POST", "/api/v1/sessions", { user_id: "ada" })).json;
    const stands = (by: string, members: string[]) =>
      until(`${by} to be in control`, () => {
        const { custom, members: there = [] } = fake.channel(id) ?? {};
        const { control } = (custom?.["parley"] ?? {}) as { control?: string };
        return control === by && members.join() === there.toSorted().join();
      });
    const transfer = (app: TestApp, body: object) => app.call("POST", `/api/v1/sessions/${id}/transfer`, body);
    await stands("assistant", ["ada", "assistant"]);
    await transfer(other, { to: "agent", agent_id: "grace" });
    await stands("agent", ["ada", "assistant", "grace"]);
    await transfer(one, { to: "assistant" });
    await stands("assistant", ["ada", "assistant"]);
  }
  await Promise.all(Array.from({ length: 5 }, comeAndGo)); // any instance may find a change first
});

it.concurrent("what was said while no more than sessions were shown comes with the agent", async (test) => {
  const fake = await fakeForTest(test);
  const env = { DATABASE_URL: await databases[0].fresh(), ...fake.env };
  const all = await startApp(env);
  const first = (await all.call("POST", "/api/chat/send", { message: "One" })).json;
  const id = first.conversation_id;
  await mirrored(all, fake, id);
  await all.stop();
  const some = await appForTest(test, { ...env, STREAM_MIRROR: "sessions" });
  await some.call("POST", "/api/chat/send", { message: "Two", conversation_id: id });
  await until("nothing to wait", async () => (await some.call("GET", "/api/v1/stream/status")).json.waiting === 0);
  expect(shownIn(fake, id)).toHaveLength(2);
  await some.call("POST", `/api/v1/sessions/${id}/transfer`, { to: "agent" });
  await mirrored(some, fake, id);
});

describe("without Stream", () => {
  let app: TestApp;
  beforeAll(async () => {
    app = await startApp({ DATABASE_URL: await databases[0].fresh() });
  });
  afterAll(() => app.stop());

  it.each([
    ["GET", "/api/v1/stream/status"],
    ["POST", "/api/v1/stream/token"],
  ])("there is no %s %s, nor a word of it", async (method, path) => {
    expect((await app.call(method, path, method === "POST" ? {} : undefined)).status).toBe(404);
    expect((await app.call("GET", "/openapi.json")).text).not.toMatch(/\/stream\/|Stream Chat/);
  });
});

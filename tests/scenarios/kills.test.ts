import { afterAll, beforeAll, describe, it } from "vitest";
import { databases, freshPostgres } from "../support/databases.ts";
import { PATIENT } from "../support/http-expect.ts";
import { providerForTest, serviceForTest } from "../support/http-worlds.ts";
import {
  type Crash,
  crashAmid,
  GROWING,
  makeChat,
  type Told,
  tell,
  untilAnswered,
  WHOLE,
} from "../support/kill-scene.ts";
import { hasProc, markedEnv, pidOf } from "../support/story-process.ts";
import { resume } from "../support/stream-reader.ts";

/** For `expect.poll`: a lease, the next sweep, and some for a busy machine. */
const SWEPT = { timeout: 90_000, interval: 100 } as const;

type Listed = { role: string; content: string };

// Everything here waits for the same lease, so it waits together: one crash in the midst of all of it.
describe.concurrent.each(databases)("killed on $database", ({ fresh }) => {
  let crash: Crash;
  beforeAll(async () => {
    crash = await crashAmid(await fresh());
  });
  afterAll(() => crash?.end());

  const listed = async (chatId: string): Promise<Listed[]> =>
    (await crash.service.call("GET", `/chats/${chatId}/messages`)).json;
  const turnOf = async ({ reading }: Told) =>
    (await crash.service.call("GET", `/api/v1/turns/${reading.heard.turnId}`)).json;
  const timesAsked = (message: string) =>
    crash.provider.asked.filter(({ body }) => body.messages.at(-1)?.content.includes(message)).length;
  const goesOn = async (chatId: string) =>
    (await crash.service.call("POST", "/chat", { chat_id: chatId, message: "and next?" })).json.reply;

  it("while the provider had not answered: the key gets an answer, and the question is there once", async ({
    expect,
  }) => {
    const { silent } = crash;
    expect(await listed(silent.chatId)).toMatchObject([{ role: "user", content: "silent one" }]);
    const { statuses, json } = await untilAnswered(crash.service, silent);
    expect(statuses).toEqual([200]);
    expect(json.reply).toBe("Echo: silent one");
    expect(timesAsked("silent one")).toBe(2);
    expect(await turnOf(silent)).toMatchObject({ status: "failed", error: { code: "provider_failed" } });
    expect(await goesOn(silent.chatId)).toBe("Echo: and next?");
    const story = ["silent one", "Echo: silent one", "and next?", "Echo: and next?"];
    expect((await listed(silent.chatId)).map(({ content }) => content)).toEqual(story);
  });

  it("in the middle of the text: what was stored of it stays, and a reader that resumes has what is stored", async ({
    expect,
  }) => {
    const { growing, storedBefore, service } = crash;
    const { heard, over } = growing.reading;
    expect(await over).toEqual({ whole: false });
    const read = await resume(service.url, heard);
    expect(await read.over).toEqual({ whole: true });

    const [, answer] = await listed(growing.chatId);
    expect(GROWING.join("").startsWith(answer?.content ?? "none")).toBe(true);
    expect(answer?.content.startsWith(storedBefore)).toBe(true);
    expect(read.heard).toMatchObject({ text: answer?.content, restarts: 1, lastId: "1-end" });
    expect(read.frames.map(({ event, id }) => [event, id])).toEqual([
      ["message.restart", "1-0"],
      ["message.delta", `1-${answer?.content.length}`],
      ["turn.failed", "1-end"],
    ]);
    expect(await turnOf(growing)).toMatchObject({ status: "incomplete", error: { code: "provider_failed" } });
    expect(await goesOn(growing.chatId)).toBe("Echo: and next?");
    expect((await untilAnswered(service, growing)).json.reply).toBe("Echo: growing one");
    const questions = (await listed(growing.chatId)).filter(({ content }) => content === "growing one");
    expect(questions).toHaveLength(1);
  });

  it("right after the last delta: the answer is not taken for whole, and the key gets a whole one", async ({
    expect,
  }) => {
    const { whole, service } = crash;
    const { statuses, json } = await untilAnswered(service, whole);
    expect([statuses, json.reply]).toEqual([[200], "Echo: whole one"]);
    const turn = await turnOf(whole);
    expect(["incomplete", "failed"]).toContain(turn.status);
    const others = (await service.call("GET", `/api/v1/messages/${json.message_id}/alternatives`)).json.alternatives;
    for (const { content } of others) expect(WHOLE.join("").startsWith(content)).toBe(true);
    expect((await listed(whole.chatId)).map(({ content }) => content)).toEqual(["whole one", "Echo: whole one"]);
    expect(await goesOn(whole.chatId)).toBe("Echo: and next?");
  });

  it("with a queue behind it: those in line are answered in their order, though nobody asks", async ({ expect }) => {
    const { line, provider } = crash;
    const [ahead, ...behind] = line;
    const { chatId } = ahead;
    await expect.poll(async () => (await listed(chatId)).length, SWEPT).toBe(7);
    const contents = (await listed(chatId)).map(({ content }) => content);
    expect(contents.filter((content) => !content.startsWith("Echo: "))).toEqual(line.map(({ message }) => message));
    const answers = contents.filter((content) => content.startsWith("Echo: "));
    expect(answers.map((content) => content.split(/\s+/).at(-1))).toEqual(["second", "third", "fourth"]);
    const asked = provider.asked.map(({ body }) => body.messages.at(-1)?.content ?? "");
    const order = asked.filter((content) => behind.some(({ message }) => content.endsWith(message)));
    expect(order.map((content) => content.split("\n\n").at(-1))).toEqual(["second", "third", "fourth"]);
    for (const told of behind) expect(await turnOf(told)).toMatchObject({ status: "completed" });
    expect(await goesOn(chatId)).toBe("Echo: and next?");
  });

  it("with thirty in flight: each key gets its answer, each question is there once, each conversation goes on", async ({
    expect,
  }) => {
    const { many, service } = crash;
    const answers = await Promise.all(many.map((told) => untilAnswered(service, told)));
    expect(answers.map(({ json }) => json.reply)).toEqual(many.map(({ message }) => `Echo: ${message}`));
    const next = await Promise.all(many.map(({ chatId }) => goesOn(chatId)));
    expect(new Set(next)).toEqual(new Set(["Echo: and next?"]));
    const stories = await Promise.all(many.map(({ chatId }) => listed(chatId)));
    expect(stories.map((story) => story.map(({ content }) => content))).toEqual(
      many.map(({ message }) => [message, `Echo: ${message}`, "and next?", "Echo: and next?"]),
    );
  });

  it("in the middle of an interruption: what was interrupted has ended, and what interrupted is answered", async ({
    expect,
  }) => {
    const { interrupted, interrupting, service } = crash;
    const { json } = await untilAnswered(service, interrupting);
    expect(json.reply).toMatch(/interrupting$/);
    expect((await turnOf(interrupted)).status).toBe("incomplete");
    const questions = (await listed(interrupted.chatId)).filter(({ role }) => role === "user");
    expect(questions.map(({ content }) => content)).toEqual([interrupted.message, interrupting.message]);
    expect(await goesOn(interrupted.chatId)).toBe("Echo: and next?");
  });
});

it.runIf(hasProc).concurrent(
  "a turn that is cancelled by way of another instance while its own dies is cancelled, and no key runs it again",
  async (test) => {
    const { expect } = test;
    const provider = await providerForTest(test);
    const url = await freshPostgres();
    const env = markedEnv();
    const one = await serviceForTest(test, { runtime: "node", url, provider, env });
    const other = await serviceForTest(test, { runtime: "node", url, provider });
    provider.behave(() => ({ text: ["half an answer"], afterwards: "stall" }));
    const told = await tell(one, await makeChat(one), "stop this");
    await expect.poll(() => told.reading.heard.text, PATIENT).toBe("half an answer");
    const isStored = async () => (await other.call("GET", `/chats/${told.chatId}/messages`)).text;
    await expect.poll(isStored, PATIENT).toContain("stop this");
    process.kill(pidOf(env), "SIGSTOP");
    const path = `/api/v1/turns/${told.reading.heard.turnId}`;
    expect((await other.call("POST", `${path}/cancel`)).status).toBe(200);
    await one.end("SIGKILL");
    await expect.poll(async () => (await other.call("GET", path)).json.completed_at, SWEPT).not.toBeNull();
    expect((await other.call("GET", path)).json.error).toMatchObject({ code: "turn_cancelled" });
    const { statuses, json } = await untilAnswered(other, told);
    expect([statuses[0], json.code]).toEqual([409, "turn_cancelled"]);
    expect(provider.asked).toHaveLength(1);
  },
);

import { eq } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { regenerate } from "../../src/core/answers.ts";
import { renameConversation } from "../../src/core/conversations.ts";
import { wholeAnswer } from "../../src/core/follow.ts";
import { deletePost, editPost } from "../../src/core/post-changes.ts";
import { post } from "../../src/core/posting.ts";
import { changeSession } from "../../src/core/sessions.ts";
import { readSnapshot } from "../../src/core/snapshot.ts";
import type { Db } from "../../src/db/db.ts";
import { type CachingInstance, openCache, startCaching, windowAt } from "../support/core-cache.ts";
import { as, messagesOf, newConversation, ours, send } from "../support/core-instance.ts";
import { answering, answerTo, testModels } from "../support/core-models.ts";
import { hang } from "../support/core-sessions.ts";
import { databases, open } from "../support/databases.ts";
import { describeRedis, type RedisServer, startRedis, untilIsThere } from "../support/redis.ts";

const admin = as("admin", "root");
type Conversation = Awaited<ReturnType<typeof newConversation>>;

async function say(instance: CachingInstance, conversation: Conversation, content: string): Promise<void> {
  await wholeAnswer(instance, await send(instance, conversation, content));
}

/** What the model was shown, the last time. */
const lastShown = ({ models }: CachingInstance) => models.calls.at(-1)?.messages.map(({ content }) => content);

describeRedis("a Redis that keeps what is read again and again", () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server?.kill());

  describe.each(databases)("on $database", ({ fresh }) => {
    let db: Db;
    let caches: [Awaited<ReturnType<typeof openCache>>, Awaited<ReturnType<typeof openCache>>];
    beforeAll(async () => {
      db = await open(await fresh());
      caches = [await openCache(server), await openCache(server)];
    });
    afterAll(async () => {
      await Promise.all((caches ?? []).map(({ redis }) => redis.close()));
      await db?.close();
    });
    const start = (cache = caches[0]) => startCaching(db, cache, answering());

    it("spares a turn that follows another every read, on whichever instance", async () => {
      const [one, other] = [start(), start(caches[1])];
      const conversation = await newConversation(db);
      await say(one, conversation, "My name is Ada.");
      await say(other, conversation, "Who am I?");
      await say(one, conversation, "Really?");
      expect([one.readsSince(), other.readsSince()]).toEqual([0, 0]);
      const thread = ["My name is Ada.", "Who am I?"].flatMap((content) => [content, answerTo(content)]);
      expect(lastShown(one)).toEqual([...thread, "Really?"]);
    });

    it("spares nothing where there is none, but in a new conversation", async () => {
      const alone = startCaching(db, null, answering());
      const conversation = await newConversation(db);
      await say(alone, conversation, "first");
      expect(alone.readsSince()).toBe(0);
      await say(alone, conversation, "second");
      expect(alone.readsSince()).toBe(1);
    });

    it("spares another answer its reads, which is shown nothing of the one before", async () => {
      const one = start();
      const conversation = await newConversation(db);
      await say(one, conversation, "first");
      const turn = await send(one, conversation, "second");
      await wholeAnswer(one, turn);
      one.readsSince();
      const asked = { messageId: turn.answerId, model: undefined, key: null };
      await wholeAnswer(one, ours(await regenerate(one, conversation.owner, asked)));
      expect(one.readsSince()).toBe(1); // the answer that it stands for
      expect(lastShown(one)).toEqual(["first", answerTo("first"), "second"]);
    });

    it("keeps the answers of turns that were cut off or failed as the database does", async () => {
      const models = testModels((call) => {
        if (call.question === "cut") call.say("half of it");
        return call.question === "ok" ? call.end("well") : call.fail("provider_failed");
      });
      const one = startCaching(db, caches[0], models);
      const conversation = await newConversation(db);
      for (const content of ["cut", "fail", "ok"]) await (await send(one, conversation, content)).ended;
      expect(one.readsSince()).toBe(0);
      expect(lastShown(one)).toEqual(["cut", "half of it", "fail\n\nok"]);
    });

    it("is not written by a turn during which something else has changed", async () => {
      const models = testModels((call) => call.question === "held" || call.end(answerTo(call.question)));
      const one = startCaching(db, caches[0], models);
      const conversation = await newConversation(db);
      const { ended, questionId } = await send(one, conversation, "first");
      await ended;
      const turn = await send(one, conversation, "held");
      const call = await models.call(2);
      await editPost(start(caches[1]), conversation.owner, { id: questionId, content: "edited" });
      call.end("at last");
      await turn.ended;
      await say(one, conversation, "third");
      expect(lastShown(one)).toEqual(["edited", answerTo("first"), "held", "at last", "third"]);
    });

    it("is not written by another answer, which may not be the one that stands", async () => {
      const models = testModels((call) => {
        if (models.calls.length !== 2) return call.end(answerTo(call.question));
        call.say("half of it");
        call.fail("provider_failed");
      });
      const one = startCaching(db, caches[0], models);
      const conversation = await newConversation(db);
      const { ended, answerId: messageId } = await send(one, conversation, "first");
      await ended;
      await ours(await regenerate(one, conversation.owner, { messageId, model: undefined, key: null })).ended;
      await say(one, conversation, "second");
      expect(lastShown(one)).toEqual(["first", answerTo("first"), "second"]);
    });

    const change = async (act: (other: CachingInstance, at: Conversation, ids: string[]) => Promise<unknown>) => {
      const [one, other] = [start(), start(caches[1])];
      const conversation = await newConversation(db, { isLive: true });
      await say(one, conversation, "first");
      await say(one, conversation, "second");
      await readSnapshot(one, admin, conversation.id);
      const ids = (await messagesOf(db, conversation.id)).map(({ id }) => id);
      await act(other, conversation, ids);
      const snapshot = await readSnapshot(one, admin, conversation.id);
      expect(snapshot).toEqual(await readSnapshot({ db, cache: null }, admin, conversation.id));
      await say(one, conversation, "third");
      return lastShown(one);
    };
    const agent = as("agent", "agent-1");
    const before = ["first", answerTo("first"), "second", answerTo("second"), "third"];

    it("shows no text that was edited elsewhere", async () => {
      const shown = await change((other, { owner }, [id = ""]) => editPost(other, owner, { id, content: "edited" }));
      expect(shown).toEqual(["edited", ...before.slice(1)]);
    });

    it("shows no message that was deleted elsewhere", async () => {
      const shown = await change((other, _, [, , id = ""]) => deletePost(other, admin, id));
      expect(shown).toEqual(["first", `${before[1]}\n\n${before[3]}`, "third"]);
    });

    it("shows what an agent said elsewhere, while the session was handed over", async () => {
      const shown = await change(async (other, { id }) => {
        const move = (to: "agent" | "assistant") =>
          changeSession(other, admin, { id, move: to === "agent" ? { to, agentId: "agent-1" } : { to } });
        await move("agent");
        const said = { conversationId: id, content: "Hello", role: "agent" as const, senderId: "agent-1" };
        await post(other, agent, { ...said, metadata: null, extensions: [], key: null });
        await move("assistant");
      });
      expect(shown).toEqual([...before.slice(0, 3), `${before[3]}\n\nagent-1: Hello`, "third"]);
    });

    it("shows the answer that was made anew elsewhere", async () => {
      const shown = await change(async (other, { owner, id }, ids) => {
        const models = testModels((call) => call.end("made anew"));
        const again = { ...other, models };
        const asked = { messageId: ids.at(-1) ?? "", model: undefined, key: null };
        await wholeAnswer(again, ours(await regenerate(again, owner, asked)));
        expect((await messagesOf(db, id)).at(-1)?.content).toBe("made anew");
      });
      expect(shown).toEqual([...before.slice(0, 3), "made anew", "third"]);
    });

    it("shows the same after a rename, and a reaction is in the next snapshot", async () => {
      const shown = await change(async (other, { owner, id }, [messageId = ""]) => {
        await renameConversation(db, owner, { id, title: "renamed", now: 1 });
        const extension = { type: "reaction", data: { emoji: "👍" } };
        await hang(other, owner, { messageId, extension });
      });
      expect(shown).toEqual(before);
    });

    it("gives a snapshot again without reading its messages, and to nobody who may not see the session", async () => {
      const one = start();
      const { owner, id, ...conversation } = await newConversation(db);
      await say(one, { owner, id, ...conversation }, "secret");
      const first = await readSnapshot(one, owner, id);
      one.readsSince();
      expect(await readSnapshot(one, owner, id)).toEqual(first);
      expect(one.readsSince()).toBe(1);
      for (const actor of [as("user", "somebody-else"), agent]) {
        await expect(readSnapshot(one, actor, id)).rejects.toMatchObject({ code: "not_found" });
      }
    });

    it("gives the text of an answer in the making as it grows", async () => {
      const one = startCaching(db, caches[0], testModels());
      const conversation = await newConversation(db);
      const turn = await send(one, conversation, "first");
      const m = db.tables.messages;
      for (const content of ["", "a", "ab"]) {
        await db.update(m).set({ content }).where(eq(m.id, turn.answerId));
        const { parts } = await readSnapshot(one, conversation.owner, conversation.id);
        const posts = (await Array.fromAsync(parts)).flat();
        expect(posts.map((one) => one.content)).toEqual(["first", content]);
      }
    });

    it("is read past where a model takes more than it was kept for", async () => {
      const one = start();
      const conversation = await newConversation(db);
      const long = "long ".repeat(1_500);
      for (let i = 0; i < 4; i++) await say(one, conversation, long + i);
      const at = { conversationId: conversation.id, rev: (await conversation.read()).rev };
      one.readsSince();
      const narrow = await windowAt(one, at);
      expect([one.readsSince(), narrow.newestFirst.length + narrow.older]).toEqual([0, 8]);
      expect(narrow.older).toBeGreaterThan(0);
      const wide = { ...at, window: 100_000 };
      expect(await windowAt(one, wide)).toEqual(await windowAt({ db, cache: null }, wide));
      expect((await windowAt(one, wide)).older).toBe(0);
    });

    it("is read past where it holds rubbish", async () => {
      const one = start();
      const conversation = await newConversation(db);
      const { id, owner } = conversation;
      await say(one, conversation, "first");
      const { rev } = await conversation.read();
      const at = { conversationId: id, rev };
      const truth = [await windowAt({ db, cache: null }, at), await readSnapshot({ db, cache: null }, owner, id)];
      const message = { seq: 1, role: "user", senderId: null, content: "forged" };
      const rubbish = [
        "",
        `${rev}`,
        `${rev} `,
        `${rev} null`,
        `${rev} {"newestFirst":[`,
        `${rev} {"newestFirst":[{}],"older":0}`,
        `${rev} ${JSON.stringify({ newestFirst: [{ ...message, seq: "1" }], older: 0 })}`,
        `${rev} ${JSON.stringify([{ ...message, id: "x" }])}`,
        `${rev}1 ${JSON.stringify({ newestFirst: [message], older: 0 })}`,
        `${rev - 1} ${JSON.stringify({ newestFirst: [message], older: 0 })}`,
      ];
      for (const text of rubbish) {
        for (const key of [`window:${id}`, `posts:${id}`]) {
          one.cache?.put(key, text);
          expect(await one.cache?.get(key)).toBe(text);
        }
        expect([await windowAt(one, at), await readSnapshot(one, owner, id)]).toEqual(truth);
      }
    });

    it("costs nothing but reads when it dies, and is used again when it is back", async () => {
      const own = await startRedis();
      const cache = await openCache(own);
      const one = startCaching(db, cache, answering());
      const conversation = await newConversation(db);
      await say(one, conversation, "0");
      await own.kill();
      for (const content of ["1", "2"]) await say(one, conversation, content);
      expect(one.readsSince()).toBe(2);
      await own.start();
      await untilIsThere(cache.redis);
      for (const content of ["3", "4", "5"]) await say(one, conversation, content);
      expect(one.readsSince()).toBe(1);
      expect(lastShown(one)).toEqual([..."01234"].flatMap((content) => [content, answerTo(content)]).concat("5"));
      await cache.redis.close();
      await own.kill();
    });
  });
});

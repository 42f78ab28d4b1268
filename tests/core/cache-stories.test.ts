import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { regenerate } from "../../src/core/answers.ts";
import { cancelTurn } from "../../src/core/cancel.ts";
import { renameConversation } from "../../src/core/conversations.ts";
import { AppError } from "../../src/core/errors.ts";
import { deletePost, editPost } from "../../src/core/post-changes.ts";
import { post } from "../../src/core/posting.ts";
import { sweepTurns } from "../../src/core/recovery.ts";
import { changeSession } from "../../src/core/sessions.ts";
import { readSnapshot } from "../../src/core/snapshot.ts";
import type { IfBusy } from "../../src/core/turns.ts";
import type { Db } from "../../src/db/db.ts";
import { type CachingInstance, openCache, startCaching, windowAt } from "../support/core-cache.ts";
import { as, lapse, messagesOf, newConversation, ours, send, turnsOf } from "../support/core-instance.ts";
import { type Call, eventually, testModels } from "../support/core-models.ts";
import { hang } from "../support/core-sessions.ts";
import { databases, open } from "../support/databases.ts";
import { describeRedis, type RedisServer, startRedis } from "../support/redis.ts";

// Whatever happens to a conversation, in whichever order and on whichever instance: what is kept of it and fits its
// revision is what the database has.

const admin = as("admin", "root");
const endings = ["whole", "whole", "silent", "cut", "failed", "held"] as const;

const act = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant("send" as const),
      ending: fc.constantFrom(...endings),
      ifBusy: fc.constantFrom<IfBusy>("queue", "queue", "interrupt"),
      wanted: fc.constantFrom(1, 1, 1, 2),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ type: fc.constant("regenerate" as const), ending: fc.constantFrom(...endings) }),
  },
  ...(
    ["edit", "delete", "react", "post", "note", "rename", "hand over and back", "cancel", "end", "lose"] as const
  ).map((type) => ({ weight: 1, arbitrary: fc.record({ type: fc.constant(type), which: fc.nat(20) }) })),
);
type Act = typeof act extends fc.Arbitrary<infer T> ? T : never;

const held = new Set<Call>();

/** Ends as the turn's system prompt says. */
function behave(call: Call): unknown {
  const ending = call.messages[0]?.content;
  if (ending === "whole") return call.end("an answer");
  if (ending === "silent") return call.end();
  if (ending === "failed") return call.fail("provider_failed");
  call.say("half of it");
  if (ending === "cut") return call.fail("provider_failed");
  call.signal.addEventListener("abort", () => held.delete(call), { once: true });
  return call.signal.aborted || held.add(call);
}

function letGo(): void {
  for (const call of held) call.end(" and the rest");
  held.clear();
}

type Scene = { one: CachingInstance; db: Db; owner: ReturnType<typeof as>; id: string };

/** Waits until no turn is open but one that is held. */
const settled = ({ db, id }: Scene) =>
  eventually(async () => {
    const open = (await turnsOf(db, id)).filter(({ status }) => status === "queued" || status === "in_progress");
    if (open.length > 0 && held.size === 0) throw new Error("turns are still open");
  });

type Ask = Extract<Act, { ending: string }>;
type Change = Exclude<Act, Ask>;

async function ask({ one, db, owner, id }: Scene, what: Ask): Promise<unknown> {
  const options = { systemPrompt: what.ending };
  if (what.type === "send") {
    const { ifBusy, wanted } = what;
    return send(one, { owner, id }, "a question", { ifBusy, wanted, options });
  }
  const messages = await messagesOf(db, id);
  if (messages.some(({ role, deletedAt }) => role === "user" && deletedAt !== null)) return; // nothing may be left to ask
  const messageId = messages.findLast(({ role }) => role === "assistant")?.id;
  return messageId && ours(await regenerate(one, owner, { messageId, model: undefined, key: null, options }));
}

async function change({ one, db, owner, id }: Scene, { type, which }: Change): Promise<unknown> {
  const messages = await messagesOf(db, id);
  const messageId = messages[which % Math.max(messages.length, 1)]?.id ?? id;
  const running = (await turnsOf(db, id)).find(({ status }) => status === "in_progress");
  const said = { conversationId: id, senderId: "root", metadata: null, extensions: [], key: null };
  switch (type) {
    case "edit":
      return editPost(one, admin, { id: messageId, content: `edited ${which}` });
    case "delete":
      return deletePost(one, admin, messageId);
    case "react":
      return hang(one, owner, { messageId, extension: { type: "reaction", data: { emoji: "🙂" } } });
    case "post":
      return post(one, admin, { ...said, role: which % 2 ? "agent" : "user", content: `said ${which}` });
    case "note":
      return post(one, admin, { ...said, role: "system", content: "a note" });
    case "rename":
      return renameConversation(db, owner, { id, title: `title ${which}`, now: which });
    case "hand over and back":
      await changeSession(one, admin, { id, move: { to: "agent", agentId: "agent-1" } });
      return changeSession(one, admin, { id, move: { to: "assistant" } });
    case "cancel":
      return running && cancelTurn(one, owner, running.id);
    case "end":
      return letGo();
    case "lose":
      if (running) await lapse(db, { turnId: running.id });
      await sweepTurns(one);
      return letGo(); // its process comes back, too late
  }
}

const perform = (scene: Scene, what: Act) => ("ending" in what ? ask(scene, what) : change(scene, what));

describeRedis("what is kept of a conversation", () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server?.kill());

  describe.each(databases)("on $database", ({ fresh }) => {
    let db: Db;
    let cache: Awaited<ReturnType<typeof openCache>>;
    beforeAll(async () => {
      db = await open(await fresh());
      cache = await openCache(server);
    });
    afterAll(async () => {
      await cache?.redis.close();
      await db?.close();
    });

    it("is what the database has, at every revision of a random story", async () => {
      let hits = 0;
      const [a, b] = [startCaching(db, cache, testModels(behave)), startCaching(db, cache, testModels(behave))];

      async function check({ id, owner, read }: Awaited<ReturnType<typeof newConversation>>): Promise<void> {
        const before = await read();
        const at = { conversationId: id, rev: before.rev };
        a.readsSince();
        const kept = await windowAt(a, at);
        const wasHit = a.readsSince() === 0;
        const stored = await windowAt({ db, cache: null }, at);
        const snapshots = [await readSnapshot(a, owner, id), await readSnapshot(a, owner, id)];
        const snapshot = await readSnapshot({ db, cache: null }, owner, id);
        if ((await read()).rev !== before.rev) return check({ id, owner, read }); // changed meanwhile
        if (wasHit && before.rev > 0) hits++;
        if (wasHit) expect(kept).toEqual(stored);
        expect(snapshots).toEqual([snapshot, snapshot]);
      }

      const story = fc.array(fc.tuple(act, fc.boolean()), { minLength: 1, maxLength: 12 });
      await fc.assert(
        fc.asyncProperty(story, async (acts) => {
          const conversation = await newConversation(db, { isLive: true });
          const { owner, id } = conversation;
          await (await send(a, conversation, "the first", { options: { systemPrompt: "whole" } })).ended;
          await check(conversation);
          for (const [what, elsewhere] of acts) {
            const scene = { one: elsewhere ? b : a, db, owner, id };
            await perform(scene, what).catch((error) => {
              if (!(error instanceof AppError)) throw error; // what is not lawful just now is another's test
            });
            await settled(scene);
            await check(conversation);
          }
          letGo();
          await settled({ one: a, db, owner, id });
        }),
        { numRuns: 20, endOnFailure: true },
      );
      expect(hits).toBeGreaterThanOrEqual(20);
    });
  });
});

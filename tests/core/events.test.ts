import { describe, expect, it } from "vitest";
import { regenerate } from "../../src/core/answers.ts";
import { cancelTurn } from "../../src/core/cancel.ts";
import { deleteConversation } from "../../src/core/conversation-deletion.ts";
import type { News } from "../../src/core/events.ts";
import { deletePost, editPost } from "../../src/core/post-changes.ts";
import { post } from "../../src/core/posting.ts";
import { changeSession } from "../../src/core/sessions.ts";
import { saveText } from "../../src/core/upkeep.ts";
import type { Db } from "../../src/db/db.ts";
import { NOW, newConversation, newUser, ours, send } from "../support/core-instance.ts";
import { answering, eventually } from "../support/core-models.ts";
import { hang } from "../support/core-sessions.ts";
import { ROOT, startWatching, type Watching, watch } from "../support/core-watch.ts";
import { databases } from "../support/databases.ts";
import { openBoth } from "../support/db-handles.ts";
import { emptyView, shownAfresh, shownBy } from "../support/session-view.ts";

const say = (at: Watching, conversationId: string, content: string) =>
  post(at, ROOT, {
    ...{ conversationId, content, role: "user", senderId: "root", metadata: null, extensions: [], key: null },
  });

const deltas = (told: readonly News[number][]) => told.filter((one) => one.type === "delta");
const revisions = (told: readonly News[number][]) => told.filter((one) => one.type === "revision");

describe.each(databases)("who watches a session on $database", ({ fresh }) => {
  let db: Db;
  let other: Db;
  openBoth(fresh, (handles) => ({ db, other } = handles));

  /** A session with something of everything in it. */
  async function eventful(at: Watching) {
    const conversation = await newConversation(db, { isLive: true });
    const { id, owner } = conversation;
    const said = await say(at, id, "Hello");
    const turn = await send(at, conversation, "A question");
    await turn.ended;
    await editPost(at, ROOT, { id: said.id, content: "Hello!" });
    await hang(at, ROOT, { messageId: said.id, extension: { type: "reaction", data: { emoji: "👋" } } });
    await deletePost(at, ROOT, (await say(at, id, "a slip")).id);
    const again = await regenerate(at, owner, { messageId: turn.answerId, model: undefined, key: null, options: null });
    await changeSession(at, ROOT, { id, move: { to: "agent", agentId: null } });
    await ours(again).ended;
    return conversation;
  }

  it("is told the state of things from every revision on, each revision once and in order", async () => {
    const at = await startWatching(db, answering());
    const { id, read } = await eventful(at);
    const { rev } = await read();
    const shown = await shownAfresh(db, id);
    const whole = await watch(at, id).upTo(rev);
    expect(shownBy(whole)).toEqual(shown);
    for (let after = 0; after <= rev; after++) {
      // What changed later is missing from what somebody holds who stopped there.
      const view = emptyView();
      for (const message of whole.messages.values()) if (message.rev <= after) view.messages.set(message.id, message);
      const { told } = watch(at, id, { view, after });
      await eventually(() => expect(revisions(told).at(-1)?.rev ?? after).toBe(rev));
      expect(view.wrongs).toEqual([]);
      expect(revisions(told).every((one) => one.rev > after)).toBe(true);
      expect(shownBy({ ...view, rev, session: view.session ?? shown.session })).toEqual(shown);
    }
  });

  it("is told everything anew from a revision that is still to come, as after a restored backup", async () => {
    const at = await startWatching(db);
    const { id } = await newConversation(db);
    await say(at, id, "Hello");
    const { told } = watch(at, id, { after: 99 });
    await eventually(() => expect(revisions(told).map(({ rev }) => rev)).toEqual([1]));
  });

  it("is told nothing of a session that is not its own, and of none that there is not", async () => {
    const at = await startWatching(db);
    const { id, owner } = await newConversation(db);
    await say(at, id, "Hello");
    const stranger = watch(at, id, { actor: newUser() });
    await stranger.done;
    expect(stranger.told).toEqual([]);
    const own = watch(at, id, { actor: owner });
    await own.upTo(1);
  });

  it("hears changes as they come, of a turn the question, the growing answer and its end, and nothing of it after", async () => {
    const at = await startWatching(db);
    const conversation = await newConversation(db);
    const watcher = watch(at, conversation.id);
    await say(at, conversation.id, "Hello");
    await watcher.upTo(1);
    const turn = await send(at, conversation, "Who are you?");
    const call = await at.models.call(1);
    await watcher.upTo(3);
    for (const piece of ["I ", "am", " Parley 🦜"]) {
      call.say(piece);
      await eventually(() => expect(watcher.view.drafts.get(turn.answerId)?.text.endsWith(piece)).toBe(true));
    }
    call.end();
    await watcher.upTo(4);
    await say(at, conversation.id, "Thanks");
    await watcher.upTo(5);
    expect(watcher.view.wrongs).toEqual([]);
    expect(deltas(watcher.told).map(({ n, offset, text }) => [n, offset, text])).toEqual([
      [0, 0, "I "],
      [0, 2, "am"],
      [0, 4, " Parley 🦜"],
    ]);
    expect(watcher.view.messages.get(turn.answerId)).toMatchObject({
      status: "completed",
      content: "I am Parley 🦜",
    });
    expect(shownBy(watcher.view)).toEqual(await shownAfresh(db, conversation.id));
  });

  it("hears the text so far, from its beginning, when it comes in the middle of an answer, and then the very rest", async () => {
    const at = await startWatching(db);
    const conversation = await newConversation(db);
    const turn = await send(at, conversation, "Who are you?");
    const call = await at.models.call(1);
    call.say("I am ");
    const first = watch(at, conversation.id);
    await eventually(() => expect(first.view.drafts.get(turn.answerId)?.text).toBe("I am "));
    call.say("Par");
    // One that begins, and one that was told of the message before and comes again.
    const later = [
      watch(at, conversation.id),
      watch(at, conversation.id, { view: { ...first.view, drafts: new Map() } }),
    ];
    for (const { view } of later) {
      await eventually(() => expect(view.drafts.get(turn.answerId)?.text).toBe("I am Par"));
    }
    call.end("ley");
    for (const { upTo, told, view } of [first, ...later]) {
      await upTo(3);
      expect(deltas(told)[0]).toMatchObject({ n: 0, offset: 0 });
      expect(
        deltas(told)
          .map(({ text }) => text)
          .join(""),
      ).toBe("I am Parley");
      expect(view.wrongs).toEqual([]);
    }
  });

  it("hears the text so far, too, where nobody has watched since it was told of the message", async () => {
    const at = await startWatching(db);
    const conversation = await newConversation(db);
    const turn = await send(at, conversation, "Who are you?");
    const call = await at.models.call(1);
    call.say("I am ");
    const first = watch(at, conversation.id);
    await first.upTo(2);
    first.leave();
    await first.done;
    const { view, told, upTo } = watch(at, conversation.id, { view: { ...first.view, drafts: new Map() } });
    await eventually(() => expect(view.drafts.get(turn.answerId)?.text).toBe("I am "));
    call.end("Parley");
    await upTo(3);
    expect(deltas(told).map(({ n, offset }) => [n, offset])).toEqual([
      [0, 0],
      [0, 5],
    ]);
    expect(view.wrongs).toEqual([]);
  });

  it("is told of a message before it hears it grow, also where one answer begins as it looks for another", async () => {
    let between = async () => {};
    const all: Db["all"] = async (statement, values) => {
      if (Object.keys(values).join() === "self,sees,owner,conversationId") await between(); // it looks for the answer that is being made
      return db.all(statement, values);
    };
    const at = await startWatching({ ...db, all });
    const conversation = await newConversation(db);
    const [one, two] = [await send(at, conversation, "One?"), await send(at, conversation, "Two?")];
    const three = Promise.withResolvers<string>();
    between = async () => {
      between = async () => {};
      (await at.models.call(1)).end("1");
      await one.ended;
      (await at.models.call(2)).end("2");
      await two.ended;
      const turn = await send(at, conversation, "Three?");
      (await at.models.call(3)).say("3");
      await eventually(() => expect(turn.progress.standing.text).toBe("3"));
      three.resolve(turn.answerId);
    };
    const { view } = watch(at, conversation.id);
    const answerId = await three.promise;
    await eventually(() => expect(view.drafts.get(answerId)?.text).toBe("3"));
    expect(view.wrongs).toEqual([]);
    (await at.models.call(3)).end();
  });

  it("hears of an answer that begins anew", async () => {
    const at = await startWatching(db);
    const conversation = await newConversation(db);
    const { told, view, upTo } = watch(at, conversation.id);
    const turn = await send(at, conversation, "Who are you?");
    const call = await at.models.call(1);
    call.say("A false sta");
    await eventually(() => expect(view.drafts.get(turn.answerId)?.text).toBe("A false sta"));
    call.restart();
    const between = watch(at, conversation.id); // neither half of the two beginnings
    call.say("I am");
    for (const one of [view, between.view]) {
      await eventually(() => expect(one.drafts.get(turn.answerId)).toEqual({ n: 1, text: "I am" }));
    }
    call.end();
    await upTo(3);
    expect(deltas(told).map(({ n, offset }) => [n, offset])).toEqual([
      [0, 0],
      [1, 0],
    ]);
    expect([...view.wrongs, ...between.view.wrongs]).toEqual([]);
  });

  it("hears turns in line one after the other, each from its first word, also where one is cancelled there", async () => {
    const at = await startWatching(db);
    const conversation = await newConversation(db);
    const { told, view } = watch(at, conversation.id);
    const turns = [];
    for (const n of [1, 2, 3, 4]) turns.push(await send(at, conversation, `Question ${n}`));
    const [one, two, three, four] = turns;
    for (const [i, turn] of [one, three, four].entries()) {
      const call = await at.models.call(i + 1);
      if (i === 0 && two) await cancelTurn(at, conversation.owner, two.turnId);
      call.say(`Answer `);
      await eventually(() => expect(view.drafts.get(turn?.answerId ?? "")?.text).toBe("Answer "));
      call.end(`${i}`);
    }
    await eventually(async () => expect(shownBy(view)).toEqual(await shownAfresh(db, conversation.id)));
    expect(view.wrongs).toEqual([]);
    expect(new Set(deltas(told).map(({ messageId }) => messageId))).toEqual(
      new Set([one, three, four].map((turn) => turn?.answerId)),
    );
  });

  it("hears another answer to the same question grow, and then that the first has given way", async () => {
    const at = await startWatching(db);
    const conversation = await newConversation(db);
    const { view, told } = watch(at, conversation.id);
    const turn = await send(at, conversation, "Which?");
    (await at.models.call(1)).end("This.");
    await turn.ended;
    const again = regenerate(at, conversation.owner, {
      ...{ messageId: turn.answerId, model: undefined, key: null, options: null },
    });
    const call = await at.models.call(2);
    call.say("That");
    await eventually(() => expect([...view.drafts.values()]).toEqual([{ n: 0, text: "That" }]));
    call.end(".");
    await again;
    await eventually(() => expect(shownBy(view).messages.map(({ content }) => content)).toEqual(["Which?", "That."]));
    expect(view.wrongs).toEqual([]);
    expect(revisions(told).at(-1)?.messages).toHaveLength(2); // both in the one revision of the end
  });

  it("hears an answer grow that is made by another process, and that it has ended", async () => {
    const [here, there] = [await startWatching(db), await startWatching(other)];
    const conversation = await newConversation(db);
    const { view, told } = watch(here, conversation.id);
    const turn = await send(there, conversation, "Who are you?");
    const call = await there.models.call(1);
    for (const piece of ["I ", "am "]) {
      call.say(piece);
      await eventually(() => expect(there.live.turns.get(turn.turnId)?.progress.standing.text).toContain(piece));
      await saveText(there);
      await eventually(() => expect(view.drafts.get(turn.answerId)?.text.endsWith(piece)).toBe(true));
    }
    call.end("Parley");
    await eventually(() => expect(view.messages.get(turn.answerId)?.content).toBe("I am Parley"));
    expect(view.wrongs).toEqual([]);
    expect(deltas(told)[0]).toMatchObject({ n: 0, offset: 0 });
  });

  it("hears no word of an answer that it knows to be whole from another process", async () => {
    const [here, there] = [await startWatching(db), await startWatching(other)];
    const conversation = await newConversation(db);
    const first = watch(here, conversation.id);
    const turn = await send(there, conversation, "Who are you?");
    const call = await there.models.call(1);
    call.say("I am");
    await eventually(() => expect(there.live.turns.get(turn.turnId)?.progress.standing.text).toBe("I am"));
    await saveText(there);
    await eventually(() => expect(first.view.drafts.get(turn.answerId)?.text).toBe("I am"));
    call.end(" Parley");
    await turn.ended;
    // At once: this process has not looked since.
    const second = watch(here, conversation.id, { after: 3, view: { ...emptyView(), messages: new Map() } });
    await say(there, conversation.id, "Thanks");
    await second.upTo(4);
    expect(deltas(second.told)).toEqual([]);
  });

  it("is told no more once the session is deleted", async () => {
    const at = await startWatching(db);
    const { id, owner } = await newConversation(db);
    await say(at, id, "Hello");
    const [one, elsewhere] = [watch(at, id), watch(await startWatching(other), id)];
    await Promise.all([one.upTo(1), elsewhere.upTo(1)]);
    await deleteConversation(at.db, owner, { id, now: NOW });
    await Promise.all([one.done, elsewhere.done]);
  });

  it("is told the state of things at last where it was slow, no revision twice, and waits for nobody", async () => {
    const at = await startWatching(db, answering());
    const conversation = await newConversation(db);
    const { id } = conversation;
    const slow = watch(at, id);
    await say(at, id, "Hello");
    await slow.upTo(1);
    slow.pause();
    const quick = watch(at, id);
    for (let i = 0; i < 60; i++) await say(at, id, `${i} ${"x".repeat(10_000)}`); // more than may wait
    await (await send(at, conversation, "Still there?")).ended;
    await quick.upTo(64);
    expect(slow.view.rev).toBe(1);
    slow.goOn();
    await slow.upTo(64);
    expect(shownBy(slow.view)).toEqual(await shownAfresh(db, id));
    expect(slow.view.wrongs).toEqual([]);
  });
});

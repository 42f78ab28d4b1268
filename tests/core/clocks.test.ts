import { describe, expect, it } from "vitest";
import { renameConversation } from "../../src/core/conversations.ts";
import type { TurnDeps } from "../../src/core/live.ts";
import { deletePost, editPost } from "../../src/core/post-changes.ts";
import { listWaiting } from "../../src/core/queue.ts";
import { NOW, newConversation, send, startInstance } from "../support/core-instance.ts";
import { answering } from "../support/core-models.ts";
import { ADMIN, ASK, hang, type Live, move, say } from "../support/core-sessions.ts";
import { databases } from "../support/databases.ts";
import { useDatabase } from "../support/db-handles.ts";

type Session = Pick<Live, "id" | "owner">;

describe.each(databases)("two instances on $database whose clocks differ", ({ fresh }) => {
  const handles = useDatabase(fresh);

  /** One whose clock is a minute ahead of the other's. */
  function start() {
    const [ahead, behind] = [startInstance(handles.db, answering()), startInstance(handles.other, answering())];
    ahead.time.now = NOW + 60_000;
    behind.time.now = NOW;
    return { ahead, behind };
  }

  const changes: [string, (deps: TurnDeps, session: Session, said: string) => Promise<unknown>][] = [
    ["a message", (deps, session) => say(deps, session.owner, session, "Hello")],
    ["a turn", async (deps, session) => (await send(deps, session, "Who are you?")).ended],
    ["an edit", (deps, { owner }, id) => editPost(deps, owner, { id, content: "Good evening" })],
    ["a deletion", (deps, { owner }, id) => deletePost(deps, owner, id)],
    ["a reaction", (deps, { owner }, id) => hang(deps, owner, { messageId: id, extension: WAVE })],
    ["a move", (deps, session) => move(deps, session.owner, session, ASK)],
    ["a title", ({ db, clock }, { owner, id }) => renameConversation(db, owner, { id, title: "Chess", now: clock() })],
  ];
  const WAVE = { type: "reaction", data: { emoji: "👋" } };

  it.each(changes)("never set back when a conversation was changed: %s", async (_, change) => {
    const { ahead, behind } = start();
    const session = await newConversation(handles.db);
    const said = await say(ahead, session.owner, session, "Good morning");
    expect((await session.read()).updatedAt).toBe(NOW + 60_000);
    await change(behind, session, said.id);
    expect((await session.read()).updatedAt).toBe(NOW + 60_000);
  });

  it("keep those who wait in the order in which they came", async () => {
    const { ahead, behind } = start();
    const first = await newConversation(handles.db);
    const second = await newConversation(handles.db);
    await move(ahead, first.owner, first, ASK);
    await move(behind, second.owner, second, ASK);
    const waiting = (await listWaiting(handles.db, ADMIN, 200)).map(({ id }) => id);
    expect(waiting.filter((id) => id === first.id || id === second.id)).toEqual([first.id, second.id]);
  });
});

import { isDeepStrictEqual } from "node:util";
import { describe, expect, it } from "vitest";
import { addExtension } from "../../src/core/extensions.ts";
import { newId } from "../../src/core/id.ts";
import { editPost } from "../../src/core/post-changes.ts";
import type { NewExtension } from "../../src/core/posting.ts";
import { getPost, type Post } from "../../src/core/thread.ts";
import { roomFor } from "../../src/db/extension-room.ts";
import { type Instance, startInstance } from "../support/core-instance.ts";
import { listPosts } from "../support/core-pages.ts";
import { ADMIN, ANN, newSession, say } from "../support/core-sessions.ts";
import { databases } from "../support/databases.ts";
import { useDatabase } from "../support/db-handles.ts";

/** What a message may hold, in bytes. */
const LONGEST = 131_072;
const MOST_OF_A_MESSAGE = 576 * 1024;
const refused = expect.objectContaining({ code: "validation_failed" });

const jsonOf = (post: Post) => JSON.stringify(post).length;
const earlier = ({ extensions }: Post) => extensions.filter(({ type }) => type === "edit_history");
const note = (bytes: number): NewExtension => ({ type: "note", data: { a: "n".repeat(bytes - '{"a":""}'.length) } });

describe.each(databases)("a message has room for so many bytes on $database", ({ fresh }) => {
  const handles = useDatabase(fresh);
  const given = async () => {
    const instances = [startInstance(handles.db), startInstance(handles.other)] as const;
    const session = await newSession(handles.db);
    const { id } = await say(instances[0], session.owner, session, "x".repeat(LONGEST));
    return { instances, session, id, read: () => getPost(handles.db, session.owner, id) };
  };
  const hang = (deps: Instance, actor: typeof ANN, messageId: string, extension: NewExtension) =>
    addExtension(deps, actor, { messageId, extension, key: null, respond: (hung) => hung.id });

  it("of earlier texts: the longest one of two editors, and then the message stays as it is", async () => {
    const { instances, session, id, read } = await given();
    const edit = (at: 0 | 1, actor: typeof ANN, letter: string) =>
      editPost(instances[at], actor, { id, content: letter.repeat(LONGEST) });
    await edit(0, session.owner, "y");
    await expect(edit(1, session.owner, "n")).rejects.toEqual(refused);
    await edit(1, ADMIN, "z");
    const before = await read();
    await expect(edit(0, ADMIN, "n")).rejects.toMatchObject({ message: expect.stringContaining("288 KiB") });
    expect(isDeepStrictEqual(await read(), before)).toBe(true);
    expect(earlier(before)).toHaveLength(2);
  });

  it("of all else of one author and of all, also at once, whatever the type; so its JSON stays short", async () => {
    const { instances, session, id, read } = await given();
    for (const actor of [session.owner, ADMIN])
      await editPost(instances[0], actor, { id, content: "y".repeat(LONGEST) });
    const counts: number[] = [];
    for (const [actor, most] of [
      [session.owner, "bytesOwn"],
      [ANN, "bytesOfAll"],
    ] as const) {
      const tries = Array.from({ length: 8 }, (_, i) => hang(instances[i % 2 === 0 ? 0 : 1], actor, id, note(16_384)));
      const done = await Promise.allSettled(tries);
      for (const one of done) if (one.status === "rejected") expect(one.reason).toEqual(refused);
      counts.push((await read()).extensions.length - 2);
      expect(counts.at(-1)).toBe(roomFor("note")[most] / 16_384);
    }
    expect(counts).toEqual([4, 6]);
    expect(jsonOf(await read())).toBeLessThan(MOST_OF_A_MESSAGE);
  });

  it("of what it begins with", async () => {
    const { instances, session } = await given();
    const begin = (count: number) =>
      say(instances[0], session.owner, session, "Hi", {
        extensions: Array.from({ length: count }, () => note(16_384)),
      });
    await expect(begin(5)).rejects.toEqual(refused);
    expect((await begin(4)).extensions).toHaveLength(4);
  });

  it("and is read with the newest where the database holds more of it; no edit is added to them", async () => {
    const { instances, session, id, read } = await given();
    const rows = (type: string, bytes: number) =>
      Array.from({ length: 20 }, (_, n) => ({
        ...{ id: newId(), messageId: id, type, authorId: session.owner.self, createdAt: n },
        data: { content: String.fromCharCode(97 + n).repeat(bytes) },
      }));
    const { messageExtensions: e } = handles.db.tables;
    await handles.db.insert(e).values([...rows("edit_history", LONGEST), ...rows("note", 16_000)]);
    const post = await read();
    const letters = (type: string) =>
      post.extensions.filter((one) => one.type === type).map(({ data }) => String(data["content"])[0]);
    expect(letters("edit_history")).toEqual(["r", "s", "t"]);
    expect(letters("note")).toEqual(["n", "o", "p", "q", "r", "s", "t"]);
    const listed = await listPosts(handles.db, session.owner, { conversationId: session.id, limit: 5 });
    expect(isDeepStrictEqual(listed, [post])).toBe(true); // a difference of such texts is not to be printed
    expect(jsonOf(post)).toBeLessThan(MOST_OF_A_MESSAGE + LONGEST + 16_384);
    const edit = editPost(instances[0], session.owner, { id, content: "short" });
    await expect(edit).rejects.toMatchObject({ message: expect.stringContaining("of earlier texts at most") });
  });
});

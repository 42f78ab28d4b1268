import { describe, expect, it } from "vitest";
import { newId } from "../../src/core/id.ts";
import { channelIdOf, channelSteps, conversationIdOf, messageIdOf, streamIdsOf } from "../../src/stream-chat/ids.ts";
import { databases } from "../support/databases.ts";
import { useDatabase } from "../support/db-handles.ts";

const UUID8 = /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe("an id of Stream's", () => {
  it("is kept where it is a UUID in lower case", () => {
    for (const id of [newId(), crypto.randomUUID()]) {
      expect(messageIdOf(id)).toBe(id);
      expect(conversationIdOf(id)).toBe(id);
    }
  });

  it.each(["general", "!members-abc_1", crypto.randomUUID().toUpperCase(), "", "a".repeat(255), " "])(
    "gives always the same UUID where it is any other: %j",
    (id) => {
      expect(messageIdOf(id)).toMatch(UUID8);
      expect(messageIdOf(id)).toBe(messageIdOf(id));
      expect(conversationIdOf(id)).toMatch(UUID8);
      expect(conversationIdOf(id)).not.toBe(messageIdOf(id));
    },
  );

  it("that was chosen to be what another gives is still another", () => {
    const derived = messageIdOf("somebody's");
    expect(messageIdOf(derived)).not.toBe(derived);
    expect(messageIdOf(derived)).toMatch(UUID8);
  });
});

describe.each(databases)("what is called otherwise at Stream, on $database", ({ fresh }) => {
  const handles = useDatabase(fresh);

  it("is found again for a channel, also where it is noted twice", async () => {
    const { db } = handles;
    await db.batch(channelSteps("general"));
    await db.batch(channelSteps("general"));
    expect(await channelIdOf(db, conversationIdOf("general"))).toBe("general");
    const own = newId();
    expect(channelSteps(own)).toEqual([]);
    expect(await channelIdOf(db, own)).toBe(own);
  });

  it("is nothing for messages that did not come from there", async () => {
    expect(await streamIdsOf(handles.db, [])).toEqual(new Map());
    expect(await streamIdsOf(handles.db, [newId(), newId()])).toEqual(new Map());
  });
});

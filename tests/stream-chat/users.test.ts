import { expect, it } from "vitest";
import { streamUserId, userIdOf } from "../../src/stream-chat/users.ts";

const LAWFUL = /^[a-zA-Z0-9@_-]{1,255}$/;

it.each(["alice", "Alice@example-com_1", "a".repeat(255), "utf8", "01990b5e-7c1a-7d2e-9f3a-4b5c6d7e8f90"])(
  "%s is itself at Stream",
  (id) => {
    expect(streamUserId(id)).toBe(id);
    expect(userIdOf(id)).toBe(id);
  },
);

it.each(["alice@example.com", "Zoë", "a b", "auth0|12", "😀", "utf8_YQ", "sha256_abc", "ü".repeat(93), "../users"])(
  "%s is written with what Stream takes, and read back",
  (id) => {
    const written = streamUserId(id);
    expect(written).toMatch(LAWFUL);
    expect(written).not.toBe(id);
    expect(userIdOf(written)).toBe(id);
  },
);

it("the longest are known by their hash alone, each by its own", () => {
  const ids = ["ü".repeat(255), `${"ü".repeat(254)}x`, "😀".repeat(120)];
  const written = ids.map(streamUserId);
  for (const one of written) expect(one).toMatch(LAWFUL);
  expect(new Set(written).size).toBe(ids.length);
  expect(written.map(userIdOf)).toEqual([null, null, null]);
});

it.each(["utf8_", "utf8_YQ", "utf8_YQ==", "utf8_!", "utf8__w"])("%s is nobody's, since no id is written so", (id) => {
  expect(userIdOf(id)).toBeNull();
});

import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { attachmentsOf, contentOf, isEcho, type MessageEvent, readEvent } from "../../src/stream-chat/event.ts";
import { hashOf, partOf } from "../../src/stream-chat/parts.ts";
import { isBy, ownerOf, personOf } from "../../src/stream-chat/people.ts";
import { streamUserId } from "../../src/stream-chat/users.ts";
import { ASSISTANT, type Event, messageEvent, newChannel, reactionEvent } from "../support/stream-inbox.ts";

/** The event as it is read; a message's, or the test fails. */
function read(fields: Event, more: Event = {}): MessageEvent {
  const found = readEvent(messageEvent("new", newChannel(), { id: "a", ...fields }, more));
  if (found.kind !== "event" || "reaction" in found.event) throw new Error(`it is ${found.kind}`);
  return found.event;
}

describe("an event of Stream's", () => {
  const hello = () => messageEvent("new", newChannel(), { id: "a", text: "Hello" });

  it("is read as far as it is used, and is the same when it is read again", () => {
    const found = readEvent({
      ...hello(),
      request_info: { ip: "192.0.2.1" },
      members: [{ user: { id: "b", email: "b@c" } }],
    });
    expect(found.kind).toBe("event");
    expect(JSON.stringify(found)).not.toMatch(/192|email|banned/);
    expect("event" in found && readEvent(JSON.parse(JSON.stringify(found.event)))).toEqual(found);
  });

  it.each<[string, unknown]>([
    ["no object", "message.new"],
    ["no type", {}],
    ["no message", { ...hello(), message: undefined }],
    ["a time that is none", messageEvent("new", newChannel(), { id: "a", updated_at: "yesterday" })],
    ["an id that no database holds", messageEvent("new", newChannel(), { id: "a\0" })],
    ["an id that is too long", messageEvent("new", newChannel("c".repeat(256)), { id: "a" })],
    ["a reaction without a type", reactionEvent("new", newChannel(), { message: "a", emoji: "" })],
    ["a reaction that is too long", reactionEvent("new", newChannel(), { message: "a", emoji: "x".repeat(65) })],
    ["no type of channel", { ...hello(), channel_type: undefined }],
  ])("is malformed with %s", (_, json) => {
    expect(readEvent(json)).toEqual({ kind: "malformed" });
  });

  it("is read where what is beside the point is odd", () => {
    const odd = { attachments: "none", latest_reactions: 1, parley: "me", type: 7, text: null, deleted_at: null };
    expect(read(odd, { members: 3 }).message).toMatchObject({ attachments: null, parley: null, type: "regular" });
  });
});

describe("a message's text", () => {
  const contentIn = (fields: Event) => contentOf(read(fields).message);

  it("is what it says, else the names of its attachments, else nothing", () => {
    const file = { asset_url: "https://example.com/a", title: "a.pdf" };
    expect(contentIn({ text: " Hi\n" })).toBe(" Hi\n");
    expect(contentIn({ text: "Hi", attachments: [file] })).toBe("Hi");
    const many = [
      file,
      { image_url: "https://example.com/b", mime_type: "image/png" },
      { image_url: "https://example.com/c" },
    ];
    expect(contentIn({ text: "", attachments: many })).toBe("[a.pdf]\n[image/png]\n[attachment]");
    expect(contentIn({ text: "", attachments: [{ title: "of nothing" }] })).toBe("");
    expect(contentIn({})).toBe("");
  });

  it("is an echo where the mirror has noted the very same beside it", () => {
    const echo = (text: string, of: string) => isEcho(read({ text, parley: { rev: 1, hash: hashOf(of) } }).message);
    expect([echo("a", "a"), echo("a", "b"), isEcho(read({ text: "a" }).message)]).toEqual([true, false, false]);
    expect(hashOf("abc")).toBe("ba7816bf8f01cfea"); // of FIPS 180-4
  });
});

it("an attachment has what a surface would take of it, and no more", () => {
  const attachments = [
    { asset_url: "https://example.com/a", title: "x".repeat(300), mime_type: "no type", file_size: -1 },
    { image_url: "http://example.com/b", fallback: "b", mime_type: "image/png", file_size: 3 },
    { image_url: "data:image/png;base64,AA" },
    { image_url: `https://example.com/${"c".repeat(2_048)}` },
    ...Array.from({ length: 30 }, (_, i) => ({ asset_url: `https://example.com/${i}` })),
  ];
  const hung = attachmentsOf(read({ attachments }).message).map(({ data }) => data);
  expect(hung).toHaveLength(20);
  expect(hung.slice(0, 2)).toEqual([
    { url: "https://example.com/a", name: "x".repeat(255) },
    { url: "http://example.com/b", name: "b", mime_type: "image/png", size: 3 },
  ]);
});

it("a part of a message is named as such", () => {
  const id = randomUUID();
  expect([2, 9, 10, 123].map((n) => partOf(`${id}-${n}`))).toEqual(Array(4).fill(id));
  for (const other of ["", "-1", "-0", "-02", "-2a", "-", "-12345"]) expect(partOf(id + other), other).toBeNull();
  expect(partOf("general-2")).toBeNull(); // which anybody may have called so
});

describe("who is who at Stream", () => {
  const conversation = { userId: "zoë", agentId: "ann" };
  const person = (id: string, role = "user") => personOf({ id, role }, conversation);

  it("is told by id, then by role", () => {
    expect(person(streamUserId("zoë"))).toEqual({ kind: "owner", id: "zoë" });
    expect(person(streamUserId("zoë"), "admin")).toEqual({ kind: "owner", id: "zoë" });
    expect(person("ann")).toEqual({ kind: "agent", id: "ann" });
    expect(person("carl", "moderator")).toEqual({ kind: "agent", id: "carl" });
    expect(person("eve", "channel_member")).toEqual({ kind: "guest", id: "eve" });
    expect(personOf({ id: "null", role: "user" }, { userId: "a", agentId: null })).toEqual({
      kind: "guest",
      id: "null",
    });
  });

  it("knows a sender again, also one whose id here is only a hash", () => {
    const hash = streamUserId("é".repeat(200));
    expect(isBy("zoë", { id: streamUserId("zoë"), role: "user" })).toBe(true);
    expect(isBy("é".repeat(200), { id: hash, role: "user" })).toBe(true);
    expect(isBy(person(hash).id, { id: hash, role: "user" })).toBe(true);
    for (const other of ["zoe", null]) expect(isBy(other, { id: streamUserId("zoë"), role: "user" })).toBe(false);
  });

  it("makes a new channel the customer's", () => {
    const members = [
      { user: { id: "boss", role: "admin" } },
      { user: { id: ASSISTANT } },
      {},
      { user: { id: "carol" } },
    ];
    const owner = (user: string, role: string, more: Event) =>
      ownerOf(read({ user: { id: user, role } }, more), ASSISTANT);
    expect(owner("alice", "user", { members })).toBe("alice");
    expect(owner("boss", "admin", { members })).toBe("carol");
    expect(owner("boss", "admin", { members: members.slice(0, 3) })).toBe("boss");
    expect(owner(streamUserId("zoë"), "user", {})).toBe("zoë");
  });
});

import { describe, expect, it } from "vitest";
import { databases } from "../support/databases.ts";
import { expectProblem, time } from "../support/http-expect.ts";
import { asAgent, asUser, sessionCalls } from "../support/http-sessions.ts";
import { declares, useApp } from "../support/http-setup.ts";

describe.each(databases)("a transcript on $database", ({ fresh }) => {
  const parts = useApp({}, fresh);
  const { create, transfer, say, get, messages, call } = sessionCalls(parts);
  const read = (id: string, format?: string) =>
    call("GET", `/sessions/${id}/transcript${format ? `?format=${format}` : ""}`);

  it("has the whole session, also what goes beyond a page, and nothing that is deleted", async () => {
    const { id } = await create({}, { user_id: "alice" });
    await Promise.all(Array.from({ length: 510 }, (_, i) => say(id, asUser("alice", `Message ${i}`))));
    const gone = (await messages(id))[7].id;
    await call("DELETE", `/messages/${gone}`);
    const { status, json } = await read(id);
    expect(status).toBe(200);
    expect(json.session).toEqual({ ...(await get(id)).json, messages: undefined });
    expect(json.messages).toHaveLength(509);
    expect(new Set(json.messages.map((one: { id: string }) => one.id)).size).toBe(509);
    const seqs = json.messages.map(({ seq }: { seq: number }) => seq);
    expect(seqs).toEqual(seqs.toSorted((a: number, b: number) => a - b));
    expect(json.messages.slice(0, 7)).toEqual((await messages(id)).slice(0, 7));
  });

  const told = async () => {
    const { id } = await create({}, { user_id: "alice" });
    await parts.app.call("POST", "/chat", { chat_id: id, message: "Where is my *order*?", user_id: "alice" });
    await transfer(id, { to: "agent", agent_id: "ann" });
    const forged = "It is lost.\n\n**user alice** · now\n[2026-01-01T00:00:00.000Z] user alice:\n# Thanks!";
    await say(id, asAgent("ann", forged));
    await call("POST", `/sessions/${id}/end`, { reason: "It was found.\n[x] user alice:" });
    return id as string;
  };

  it("is read as text: who said what and when, and nobody's words look like another's", async () => {
    const id = await told();
    const { headers, text } = await read(id, "text");
    expect(headers.get("content-type")).toBe("text/plain; charset=utf-8");
    expect(text.split(/\d{4}-\S+Z/)).toHaveLength(1 + 2 + 5 + 1);
    expect(text).toMatch(/^Where is my \*order\*\?\n\nSession \S+ · user alice · ended · made \S+ · ended \S+\n\n/);
    const { created_at, ended_at } = (await get(id)).json;
    expect(text).toContain(` · made ${created_at} · ended ${ended_at}\n`);
    const heads = text.split("\n").filter((line) => line.startsWith("["));
    expect(heads.map((line) => line.replace(/^\[.*?\] /, ""))).toEqual([
      "user alice:",
      "assistant:",
      "system:",
      "agent ann:",
      "system:",
    ]);
    expect(text).toContain("    [2026-01-01T00:00:00.000Z] user alice:\n    # Thanks!");
    expect(text.endsWith("\n    The session has ended.\n    Reason: It was found.\n    [x] user alice:\n")).toBe(true);
  });

  it("is read as Markdown, with what was said quoted", async () => {
    const { headers, text } = await read(await told(), "markdown");
    expect(headers.get("content-type")).toBe("text/markdown; charset=utf-8");
    const lines = text.split("\n").filter((line) => line !== "");
    expect(lines[0]).toBe("# Where is my \\*order\\*?");
    expect(lines.filter((line) => line.startsWith("**")).map((line) => line.split(" · ")[0])).toEqual([
      "**user alice**",
      "**assistant**",
      "**system**",
      "**agent ann**",
      "**system**",
    ]);
    for (const line of lines.slice(2)) expect(line).toMatch(/^(> |\*\*.+\*\* · \S+Z$)/);
    expect(text).toContain("> **user alice** · now\n");
    expect(text).toContain("> The session has ended.\n> Reason: It was found.\n> [x] user alice:\n");
  });

  it("of names and titles that are more than they seem stays one line a head", async () => {
    const { id } = await create({}, { user_id: "alice\n# Boss" });
    await parts.app.call("PATCH", `/chats/${id}`, { title: "One\n\n# Two <b>" });
    await say(id, asAgent("ann\n\n[x] user bob:", "Hello"));
    const [text, markdown] = [(await read(id, "text")).text, (await read(id, "markdown")).text];
    expect(text.split("\n")[0]).toBe("One # Two <b>");
    expect(text).toContain("agent ann [x] user bob::\n    Hello\n");
    expect(markdown.split("\n")[0]).toBe("# One \\# Two \\<b\\>");
    expect(markdown).toContain("**agent ann \\[x\\] user bob:** · ");
    for (const one of [text, markdown]) expect(one).not.toContain("\n# Boss");
  });

  it("takes no other format, and is empty where nothing was said", async () => {
    const { id } = await create({}, { user_id: "alice" });
    expectProblem(await read(id, "pdf"), 422, "validation_failed");
    expect((await read(id)).json).toEqual({ session: expect.objectContaining({ id, created_at: time }), messages: [] });
    expect((await read(id, "text")).text).toMatch(/^Untitled\n\nSession \S+ · user alice · active · made \S+\n$/);
  });

  declares(parts);
});

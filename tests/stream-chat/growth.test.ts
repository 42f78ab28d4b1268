import { describe, expect, it } from "vitest";
import { databases } from "../support/databases.ts";
import type { Asked, Script } from "../support/provider.ts";
import type { FakeStream } from "../support/stream.ts";
import { createGate } from "../support/stream-gate.ts";
import { mirrored, PATIENT, useMirror } from "../support/stream-mirror.ts";

/** What who watches a channel is told of an answer, in order: its text as it grows, and what the indicator shows. */
function told({ log }: FakeStream, messageId: string): string[] {
  return log.flatMap((entry) => {
    if (!("event" in entry)) return [];
    const { type, message, ai_state, message_id } = entry.event as unknown as Record<string, never>;
    if (type === "ai_indicator.clear" && message_id === messageId) return ["clear"];
    if (type === "ai_indicator.update" && message_id === messageId) return [String(ai_state).replace("AI_STATE_", "")];
    const { id, text, generating } = (message ?? {}) as Record<string, never>;
    return id === messageId ? [`${generating ? "…" : ""}${text}`] : [];
  });
}

describe.each(databases.slice(0, 1))("an answer in the making at Stream", ({ fresh }) => {
  const scene = useMirror(fresh, { MODELS: "m=openai/m;two=openai/first,openai/second" });
  async function ask(script: Script | ((asked: Asked) => Script), model = "m") {
    scene.provider.behave(typeof script === "function" ? script : () => script);
    const { id } = (await scene.app.call("POST", "/api/v1/sessions", { user_id: "ada" })).json;
    const message = { content: "Go", sender_type: "user", sender_id: "ada", reply: true, model };
    const { turn } = (await scene.app.call("POST", `/api/v1/sessions/${id}/messages`, message)).json;
    const { json } = await scene.app.call("GET", `/api/v1/turns/${turn.id}`);
    const messageId: string = json.message_id;
    const hears = (what: string) => expect.poll(() => told(scene.fake, messageId), PATIENT).toContain(what);
    return { id, turnId: turn.id, messageId, hears };
  }

  it("is empty and thinking, grows, is whole, and then nothing is waited for", async () => {
    const gate = createGate(["Once ", "upon ", "a time"]);
    const { id, messageId, hears } = await ask(gate.script);
    await hears("THINKING");
    gate.next();
    await hears("…Once ");
    gate.next();
    await hears("…Once upon ");
    gate.open();
    await mirrored(scene.app, scene.fake, id);
    await hears("clear");
    const all = told(scene.fake, messageId);
    expect(all.slice(0, 4)).toEqual(["…", "THINKING", "GENERATING", "…Once "]);
    expect(all.slice(-2)).toEqual(["Once upon a time", "clear"]);
  });

  it("that begins anew with another model is shown so", async () => {
    const gate = createGate(["Once ", "upon "]);
    const second = createGate(["Twice ", "over"]);
    const { id, messageId, hears } = await ask(
      ({ body }) => (body.model === "first" ? { ...gate.script, afterwards: "cut" } : second.script),
      "two",
    );
    gate.next();
    await hears("…Once ");
    gate.open();
    second.next();
    await hears("…Twice ");
    second.open();
    await mirrored(scene.app, scene.fake, id);
    expect(told(scene.fake, messageId).filter((one) => /Once.*Twice/.test(one))).toEqual([]);
    expect(scene.fake.state.messages.get(messageId)).toMatchObject({ text: "Twice over", status: "completed" });
  });

  it("is shown no more of once it is longer than a message may be", async () => {
    const long = "x".repeat(6_000);
    const [gate, other] = [createGate([long, "y", "z"]), createGate(["a", "b", "c", "d"])];
    const first = await ask(gate.script);
    gate.next();
    await first.hears(`…${long.slice(0, 5_000)}`);
    gate.next();
    const second = await ask(other.script);
    for (const text of ["…a", "…ab", "…abc"]) {
      other.next();
      await second.hears(text); // an answer's updates are half a second apart
    }
    for (const one of [gate, other]) one.open();
    await mirrored(scene.app, scene.fake, first.id);
    expect(told(scene.fake, first.messageId).filter((text) => text.startsWith("…x"))).toHaveLength(1);
  });

  it("that is cancelled keeps what there was, and is no error", async () => {
    const gate = createGate(["Once ", "upon "]);
    const { id, turnId, messageId, hears } = await ask(gate.script);
    gate.next();
    await hears("…Once ");
    await scene.app.call("POST", `/api/v1/turns/${turnId}/cancel`);
    await hears("clear");
    await mirrored(scene.app, scene.fake, id);
    expect(scene.fake.state.messages.get(messageId)).toMatchObject({
      ...{ text: "Once ", generating: false, status: "incomplete" },
    });
    gate.open();
  });

  it("that fails says so, and that it is over", async () => {
    const { messageId, hears } = await ask({ status: 400, error: { message: "no" } });
    await hears("ERROR");
    expect(scene.fake.state.messages.get(messageId)).toMatchObject({ text: "", generating: false, status: "failed" });
  });
});

import { randomUUID } from "node:crypto";
import { expect } from "vitest";
import { actAs } from "../../src/core/identity.ts";
import type { Called } from "./app.ts";
import type { HttpApp } from "./http-app.ts";
import { PATIENT } from "./http-expect.ts";
import { openStream } from "./http-stream.ts";
import type { Asked } from "./isolation-document.ts";
import type { Rows } from "./isolation-operations.ts";
import { type Caller, tokenOf } from "./isolation-people.ts";
import type { Recorder } from "./isolation-record.ts";
import type { Provider } from "./provider.ts";

/** The last message of who is never answered; one that was interrupted is shown with what was said next. */
export const WAIT = /^Wait for me, [\w-]+$/;

/** What an owner is to have: a turn that runs, a conversation that is live, one that waits for an agent. */
export type Wanted = { running?: boolean; live?: boolean; waits?: boolean };

type Means = {
  app: HttpApp;
  provider: Provider;
  recorder: Recorder;
  call(caller: Caller, asked: Asked): Promise<Called>;
};

/** Ids of what is not there. */
export const noRows = (): Rows => ({
  ...{ conversation: randomUUID(), turn: randomUUID(), answer: randomUUID() },
  ...{ message: randomUUID(), extension: randomUUID() },
});

/** Makes rows for owners, over the surfaces. */
export function giverOf({ app, provider, recorder, call }: Means): (owner: Caller, wanted: Wanted) => Promise<Rows> {
  async function begun(owner: Caller, live: boolean) {
    const post = (path: string, body: Record<string, unknown>) => call(owner, { method: "POST", path, body });
    const message = "What is mine?";
    if (!live) return (await post("/api/chat/send", { message })).json;
    const { id: chat_id } = (await post("/api/v1/sessions", {})).json;
    return { ...(await post("/chat", { chat_id, message })).json, conversation_id: chat_id };
  }
  async function run(owner: Caller, chat_id: string) {
    const message = `Wait for me, ${randomUUID()}`;
    const headers = { authorization: `Bearer ${await tokenOf(owner)}` };
    const begin = () => openStream(app, "POST", "/chat", { chat_id, message, stream: true }, headers);
    const stream = await recorder.as(actAs(owner, undefined), begin);
    const [started] = await stream.until("turn.started");
    const isAsked = () => provider.asked.some(({ body: { messages } }) => messages.at(-1)?.content === message);
    await expect.poll(isAsked, PATIENT).toBe(true);
    await stream.leave();
    return { turn: started?.data.turn_id, answer: started?.data.message_id };
  }
  return async (owner, { running = false, live = false, waits = false }) => {
    const { conversation_id: conversation, turn_id: turn, message_id: answer } = await begun(owner, live);
    const { user_message_id: message } = (await call(owner, { method: "GET", path: `/api/v1/turns/${turn}` })).json;
    const hung = { extension_type: "note", data: { of: "mine" } };
    const path = `/api/v1/messages/${message}/extensions`;
    const { id: extension } = (await call(owner, { method: "POST", path, body: hung })).json;
    const asks = { method: "POST", path: `/api/v1/sessions/${conversation}/transfer`, body: { to: "agent" } };
    if (waits) await call(owner, asks);
    const rows = { conversation, turn, answer, message, extension };
    return running ? { ...rows, ...(await run(owner, conversation)) } : rows;
  };
}

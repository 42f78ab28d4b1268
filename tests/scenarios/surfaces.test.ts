import { describe, expect, it } from "vitest";
import { laterMillisecond } from "../support/http-expect.ts";
import { providerForTest, serviceForTest, worlds } from "../support/http-worlds.ts";

type Told = { content: string };
const contentsOf = (messages: Told[]) => messages.map(({ content }) => content);

describe.each(worlds)("on $runtime with $database", ({ runtime, fresh }) => {
  it("a conversation is one, whichever of the surfaces it was made, continued or looked at on", async (test) => {
    const provider = await providerForTest(test);
    const service = await serviceForTest(test, { runtime, url: await fresh(), provider });
    const post = async (path: string, body: object) => (await service.call("POST", path, body)).json;
    const get = async (path: string) => (await service.call("GET", path)).json;
    const user_id = "ann";

    const { id } = await post("/conversations/", { user_id });
    await post(`/conversations/${id}/ask-message/`, { user_id, content: "one", n: 2 });
    await post("/chat", { user_id, chat_id: id, message: "two" });
    await post("/api/chat/send", { user_id, conversation_id: id, message: "three" });
    await post("/generate-response", { user_id, chat_id: id, message: "four" });
    const last = await post("/api/v1/chat/message", { user_id, chat_id: id, content: "five" });
    expect(last).toMatchObject({ status: "success", content: "Echo: five" });

    const story = ["one", "two", "three", "four", "five"].flatMap((said) => [said, `Echo: ${said}`]);
    expect(contentsOf(provider.asked.at(-1)?.body.messages ?? [])).toEqual(story.slice(0, -1));
    expect(contentsOf(await get(`/chats/${id}/messages/`))).toEqual(story);
    const thread = await get(`/conversations/${id}/`);
    expect(thread.title).toBe("one");
    expect(contentsOf(thread.messages)).toEqual(story);
    expect(thread.messages.map(({ sender }: { sender: string }) => sender).slice(0, 2)).toEqual(["user", "chatbot"]);
    expect(contentsOf((await get(`/api/chat/conversations/${id}`)).messages)).toEqual(story);
    expect(await get(`/chats/${id}`)).toMatchObject({ user_id, title: "one", message_count: 10 });

    const made: string[] = [];
    await laterMillisecond();
    made.unshift((await post("/api/v1/chats", { user_id })).chat_id);
    await laterMillisecond();
    made.unshift((await post("/generate-response", { user_id, message: "six" })).chat_id);
    await laterMillisecond();
    made.unshift((await post("/chats", { user_id, title: "Named" })).id);
    const listed = [
      (await get(`/chats?user_id=${user_id}`)).chats,
      await get(`/conversations/?user_id=${user_id}`),
      (await get(`/api/chat/conversations?user_id=${user_id}`)).conversations,
    ];
    for (const list of listed) expect(list.map((one: { id: string }) => one.id)).toEqual([...made, id]);

    expect((await service.call("DELETE", `/chats/${id}`)).status).toBe(204);
    for (const gone of [`/chats/${id}`, `/conversations/${id}/`, `/api/chat/conversations/${id}`]) {
      expect((await service.call("GET", gone)).status).toBe(404);
    }
  });
});

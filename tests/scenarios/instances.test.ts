import { it } from "vitest";
import { freshPostgres } from "../support/databases.ts";
import { PATIENT } from "../support/http-expect.ts";
import { pairsOf, providerForTest, serviceForTest } from "../support/http-worlds.ts";

it.concurrent("two services on one Postgres, started at once on two runtimes, share every conversation", async (test) => {
  const { expect } = test;
  const provider = await providerForTest(test);
  const url = await freshPostgres();
  const [node, bun] = await Promise.all([
    serviceForTest(test, { runtime: "node", url, provider }),
    serviceForTest(test, { runtime: "bun", url, provider }),
  ]);
  const { conversation_id: id } = (await node.call("POST", "/api/chat/send", { message: "by node" })).json;
  expect((await bun.call("POST", "/chat", { chat_id: id, message: "by bun" })).json.reply).toBe("Echo: by bun");
  const expected = [
    ["by node", "Echo: by node"],
    ["by bun", "Echo: by bun"],
  ];
  for (const service of [node, bun]) {
    expect(pairsOf((await service.call("GET", `/chats/${id}/messages`)).json)).toEqual(expected);
    expect((await service.call("GET", "/chats")).json).toMatchObject({ chats: [{ id, title: "by node" }], total: 1 });
  }
  expect((await bun.call("DELETE", `/chats/${id}`)).status).toBe(204);
  expect((await node.call("GET", `/chats/${id}`)).status).toBe(404);
});

it.concurrent("messages that reach one conversation through two services are each answered once, in turn", async (test) => {
  const { expect } = test;
  const provider = await providerForTest(test);
  const url = await freshPostgres();
  const services = [
    await serviceForTest(test, { runtime: "node", url, provider }),
    await serviceForTest(test, { runtime: "node", url, provider }),
  ];
  const [one] = services;
  const id: string = (await one?.call("POST", "/chats"))?.json.id;
  const asked = provider.asked.length;
  const contents = ["a", "b", "c", "d"].flatMap((name) => [`${name} here`, `${name} there`]);
  const sent = await Promise.all(
    contents.map((message, i) => services[i % 2]?.call("POST", "/chat", { chat_id: id, message })),
  );
  expect(sent.map((called) => [called?.status, called?.json.reply])).toEqual(
    contents.map((content) => [200, `Echo: ${content}`]),
  );
  expect(provider.asked).toHaveLength(asked + contents.length);
  const listed = (await one?.call("GET", `/chats/${id}/messages`))?.json;
  expect(pairsOf(listed).sort()).toEqual(contents.map((content) => [content, `Echo: ${content}`]).sort());
});

it.concurrent("a turn is cancelled by a deletion on another service, and its sender is told", async (test) => {
  const { expect } = test;
  const provider = await providerForTest(test);
  const url = await freshPostgres();
  const one = await serviceForTest(test, { runtime: "node", url, provider });
  const other = await serviceForTest(test, { runtime: "node", url, provider });
  provider.behave(() => ({ headersAfter: Number.POSITIVE_INFINITY }));
  const { id } = (await one.call("POST", "/chats")).json;
  const sent = one.call("POST", "/chat", { chat_id: id, message: "hello" });
  await expect.poll(provider.busy, PATIENT).toBe(1);
  expect((await other.call("DELETE", `/chats/${id}`)).status).toBe(204);
  const refused = await sent;
  expect({ status: refused.status, code: refused.json.code }).toEqual({ status: 409, code: "turn_cancelled" });
  await expect.poll(provider.left, PATIENT).toBe(1);
});

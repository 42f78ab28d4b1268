import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { HttpEnv } from "../../src/http/env.ts";
import { answerInParts } from "../../src/http/parts.ts";
import { eventStream } from "../../src/http/sse.ts";

const INSIDE = "select secret from messages";

async function* failing(): AsyncGenerator<string> {
  yield `"${"x".repeat(100_000)}"`;
  throw new Error(INSIDE);
}

let server: Server;
const logged: object[] = [];
beforeAll(async () => {
  const log = { error: (fields: object) => void logged.push(fields) };
  const app = new Hono<HttpEnv>();
  app.use(async (c, next) => {
    c.set("claimStream", () => () => {});
    await next();
  });
  app.get("/events", (c) => eventStream(c, failing, { log }));
  app.get("/parts", (c) => answerInParts(c, failing(), { user: "ann", log }));
  await new Promise<void>((listening) => {
    server = serve({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }, () => listening()) as Server;
  });
});
afterAll(() => void server.close());

it.each(["/events", "/parts"])(
  "an answer that fails in its middle shows nothing of why, and is cut off (%s)",
  async (path) => {
    const before = logged.length;
    const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`);
    const seen: string[] = [];
    const decoder = new TextDecoder();
    const read = async () => {
      for await (const chunk of response.body ?? []) seen.push(decoder.decode(chunk));
    };
    await expect(read()).rejects.toThrow();
    expect(seen.join("")).not.toContain("select");
    expect(seen.join("")).not.toContain("Error");
    expect(logged.length, "the log has it").toBe(before + 1);
  },
);

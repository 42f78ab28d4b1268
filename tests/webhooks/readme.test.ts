import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it, vi } from "vitest";
import { signature } from "../../src/webhooks/post.ts";
import { SECRET } from "../support/webhook-scene.ts";

it("the README's lines tell a genuine delivery from others", async () => {
  const readme = readFileSync(fileURLToPath(new URL("../../README.md", import.meta.url)), "utf8");
  const code = [...readme.matchAll(/```js\n([\s\S]*?)```/g)].find(([, text]) => text?.includes("isGenuine"))?.[1] ?? "";
  vi.stubEnv("WEBHOOK_SECRET", SECRET);
  const { isGenuine } = await import(/* @vite-ignore */ `data:text/javascript,${encodeURIComponent(code)}`);
  const body = '{"type":"session.changed"}';
  const secret = Buffer.from(SECRET.slice("whsec_".length), "base64");
  const now = Math.floor(Date.now() / 1000);
  const signed = (timestamp: number, key: Uint8Array = secret) => signature(key, { id: "a_-1_2", timestamp, body });
  expect(isGenuine(signed(now), body)).toBe(true);
  expect(isGenuine({ ...signed(now), "webhook-signature": `v1,b2xk ${signed(now)["webhook-signature"]}` }, body)).toBe(
    true,
  );
  expect(isGenuine(signed(now), `${body} `)).toBe(false);
  expect(isGenuine({ ...signed(now), "webhook-id": "another" }, body)).toBe(false);
  expect(isGenuine(signed(now - 301), body)).toBe(false);
  expect(isGenuine(signed(now, Buffer.from("another secret")), body)).toBe(false);
  expect(isGenuine({}, body)).toBe(false);
});

import { decodeJwt, jwtVerify } from "jose";
import { describe, expect, it } from "vitest";
import { serverToken, userToken } from "../../src/stream-chat/tokens.ts";

const SECRET = "a secret of Stream's";
const NOW = Date.UTC(2026, 10, 24);
const key = new TextEncoder().encode(SECRET);

describe("a token of the server", () => {
  it("is signed with the app's secret, says that it is the server's, and is a little older than it is", async () => {
    const token = await serverToken(SECRET, () => NOW)();
    const { payload, protectedHeader } = await jwtVerify(token, key, { currentDate: new Date(NOW) });
    expect(protectedHeader.alg).toBe("HS256");
    expect(payload).toEqual({ server: true, iat: NOW / 1000 - 5, exp: NOW / 1000 + 600 });
  });

  it("is kept for half of its time, and made anew then, or where the clock was set back", async () => {
    let now = NOW;
    const token = serverToken(SECRET, () => now);
    const first = await token();
    now = NOW + 300_000;
    expect(await token()).toBe(first);
    now = NOW + 300_001;
    const second = await token();
    expect(decodeJwt(second).exp).toBe(Math.floor(now / 1000) + 600);
    now = NOW;
    expect(decodeJwt(await token()).exp).toBe(NOW / 1000 + 600);
  });
});

it("a token of a user names it, and says when it was issued and when it ends", async () => {
  const token = await userToken(SECRET, { userId: "alice", now: NOW + 999, ttl: 60 });
  const { payload } = await jwtVerify(token, key, { currentDate: new Date(NOW) });
  expect(payload).toEqual({ user_id: "alice", iat: NOW / 1000 - 5, exp: NOW / 1000 + 60 });
});

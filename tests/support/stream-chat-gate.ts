import { createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import type { CallKind } from "../../src/stream-chat/quota.ts";
import { type Caller, isObject, Refusal } from "./stream-chat-state.ts";

/** Who may come in to the fake Stream, and how often. */

export type App = { apiKey: string; secret: string };

/** Throws as Stream does where a call shows no valid token of the app. */
export function authenticate({ apiKey, secret }: App, query: URLSearchParams, headers: IncomingHttpHeaders): Caller {
  if (query.get("api_key") !== apiKey) throw new Refusal(401, 2, "api_key is invalid");
  if (headers["stream-auth-type"] !== "jwt") throw new Refusal(401, 5, "stream-auth-type is missing or invalid");
  const [head = "", payload = "", signature = ""] = (headers.authorization ?? "").split(".");
  const good = createHmac("sha256", secret).update(`${head}.${payload}`).digest();
  const given = Buffer.from(signature, "base64url");
  if (given.length !== good.length || !timingSafeEqual(given, good) || readPart(head)["alg"] !== "HS256") {
    throw new Refusal(401, 43, "JWTAuth error: signature is not valid");
  }
  const claims = readPart(payload);
  const now = Date.now() / 1000;
  if (typeof claims["exp"] === "number" && claims["exp"] <= now)
    throw new Refusal(401, 40, "JWTAuth error: token is expired");
  if (typeof claims["nbf"] === "number" && claims["nbf"] > now)
    throw new Refusal(401, 41, "JWTAuth error: token is not valid yet");
  if (typeof claims["iat"] === "number" && claims["iat"] > now)
    throw new Refusal(401, 42, "JWTAuth error: token used before issue at (iat)");
  if (claims["server"] === true) return { server: true };
  if (typeof claims["user_id"] !== "string") throw new Refusal(401, 5, "JWTAuth error: no user_id");
  return { server: false, userId: claims["user_id"] };
}

function readPart(part: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, "base64url").toString());
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

/** As in the table of a small plan: https://getstream.io/chat/docs/node/rate_limits_table/ */
const DEFAULTS: Readonly<Record<CallKind, number>> = {
  ...{
    QueryUsers: 300,
    UpdateUsers: 300,
    GetOrCreateChannel: 10_000,
    UpdateChannel: 300,
    DeleteChannel: 60,
    SendMessage: 1_000,
  },
  ...{ GetMessage: 1_000, UpdateMessage: 1_000, UpdateMessageEphemeral: 1_000, DeleteMessage: 1_000 },
  ...{ SendReaction: 1_000, DeleteReaction: 1_000, GetReactions: 1_000, SendEvent: 10_000, GetApp: 10_000 },
};

export type Counted = { headers: Record<string, string>; isOver: boolean };

/** Counts the server's calls of each kind in windows that all begin at once. */
export function createCounter(windowMs: number) {
  const limits = { ...DEFAULTS };
  const used = new Map<CallKind, number>();
  let resetAt = 0;
  return {
    limit(kind: CallKind, count: number): void {
      limits[kind] = count;
    },
    count(kind: CallKind): Counted {
      if (Date.now() >= resetAt) {
        used.clear();
        resetAt = Date.now() + windowMs;
      }
      const so = (used.get(kind) ?? 0) + 1;
      used.set(kind, so);
      const left = Math.max(0, limits[kind] - so);
      const headers = {
        "x-ratelimit-limit": String(limits[kind]),
        "x-ratelimit-remaining": String(left),
        "x-ratelimit-reset": String(Math.ceil(resetAt / 1000)),
      };
      return { headers, isOver: so > limits[kind] };
    },
  };
}

import { isIP } from "node:net";
import { z } from "zod";
import type { Rate } from "./bus/buckets.ts";
import { type DatabaseAddress, parseDatabaseUrl } from "./db/index.ts";
import type { Price } from "./models/prices.ts";

/** How single values of the configuration are written. */

const PROVIDERS = ["echo", "openai", "groq", "runpod"];
/**
 * What is secret in a variable: all of it; a key that is used decoded; the password and the query of an address; or the
 * digests of keys.
 */
export type Secret = "whole" | "signing key" | "in the address" | "digests";

/** A variable that holds a secret is registered here, where it is defined: that is what keeps its value out of logs. */
export const secrets = z.registry<{ secret: Secret }>();

export const whole = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d+$/, { error: "must be a whole number", abort: true })
    .transform(Number)
    .refine((value) => value >= min, { error: `must be at least ${min}`, abort: true })
    .refine((value) => value <= max, `must be at most ${max}`);

export const milliseconds = whole(1, 2 ** 31 - 1);
export const flag = z.stringbool({ error: "must be true or false" });

/** A name, or an address with or without brackets: no URL, no port. Four numbers are an address. */
export const hostName = z
  .string()
  .refine(
    (value) =>
      isIP(value.replace(/^\[(.*)\]$/, "$1")) > 0 || (/^[\w-]+(\.[\w-]+)*\.?$/.test(value) && !isFourNumbers(value)),
    "is no host: write a name or an address alone, like localhost or 127.0.0.1; the port stands in PORT",
  );

const isFourNumbers = (value: string) => /^\d+(\.\d+){3}$/.test(value);

/** What is sent as a header. */
export const headerText = z.string().regex(/^[\x20-\x7e]+$/, "must be one line of letters, digits and signs of ASCII");

/** An address that is called as it stands. */
export const bareUrl = z
  .url({ protocol: /^https?$/, error: "must be an http:// or https:// URL", abort: true })
  .refine((value) => !/^\w+:\/\/[^/?#]*@/.test(value), "must not hold a user name or a password");

/** An address to which paths are added. What `pasted` finds at its end is such a path, and left out. */
export const baseUrl = (pasted?: RegExp) =>
  bareUrl
    .refine((value) => !/[?#]/.test(value), "must not hold a query: paths are added to it")
    .transform((value) => value.replace(/\/+$/, "").replace(pasted ?? /$^/, ""));

/** `/chat-api`, without a slash at its end; empty for none. */
export const basePath = z
  .string()
  .transform((value) => value.replace(/\/+$/, ""))
  .refine((value) => /^(\/[\w.~-]*[\w~-][\w.~-]*)*$/.test(value), "must be a path like /chat-api");

export const limit = z.union([z.literal("off").transform(() => null), whole(1, 2 ** 31 - 1)], {
  error: "must be a positive whole number, or off",
});

const MOST_DAYS = 36_500;
export const days = whole(0, MOST_DAYS);
export const daysOrOff = z.union([z.literal("off").transform(() => null), whole(1, MOST_DAYS)], {
  error: `must be a number of days from 1 to ${MOST_DAYS}, or off`,
});

/** `30/m`, `10/s`, `off`: requests in a minute, a second or an hour */
export function rate(value: string, context: z.RefinementCtx): Rate | null {
  if (value === "off") return null;
  const [, count, unit] = /^([1-9]\d{0,5})\/([smh])$/.exec(value) ?? [];
  const windowMs = { s: 1_000, m: 60_000, h: 3_600_000 }[unit ?? ""];
  if (windowMs === undefined) {
    context.addIssue({ code: "custom", message: "must look like 600/m, 10/s, 1000/h or off" });
    return z.NEVER;
  }
  return { count: Number(count), windowMs };
}

const SECRET_BYTES = 24;

/** `whsec_` and base64, or the bytes of the text itself */
export function webhookSecret(value: string, context: z.RefinementCtx): Uint8Array {
  const [, encoded] = /^whsec_(.*)$/.exec(value) ?? [];
  if (encoded !== undefined && !/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) {
    context.addIssue({ code: "custom", message: "must be base64 after whsec_" });
    return z.NEVER;
  }
  const secret = encoded === undefined ? Buffer.from(value) : Buffer.from(encoded, "base64");
  if (secret.length >= SECRET_BYTES) return secret;
  context.addIssue({ code: "custom", message: `must have at least ${SECRET_BYTES} bytes` });
  return z.NEVER;
}

export function databaseAddress(value: string, context: z.RefinementCtx): DatabaseAddress {
  try {
    return parseDatabaseUrl(value);
  } catch (error) {
    context.addIssue({ code: "custom", message: error instanceof Error ? error.message : "cannot be read" });
    return z.NEVER;
  }
}

export function origins(value: string, context: z.RefinementCtx): string[] {
  const list = value.split(",").map((origin) => origin.trim());
  const named = list.filter((origin) => origin !== "");
  for (const origin of named) {
    if (origin === "*" ? named.length > 1 : !URL.canParse(origin) || new URL(origin).origin !== origin) {
      context.addIssue({ code: "custom", message: "must be origins like https://app.example.com, or * alone" });
      return z.NEVER;
    }
  }
  return named;
}

/** `fast=groq/openai/gpt-oss-20b,openai/gpt-6-luna;smart=…` */
export function aliases(value: string, context: z.RefinementCtx): Map<string, string[]> {
  const result = new Map<string, string[]>();
  for (const part of value.split(";").map((text) => text.trim())) {
    if (part === "") continue;
    const [alias = "", list = ""] = [part.split("=", 1)[0], part.slice(part.indexOf("=") + 1)].map((text) =>
      text?.trim(),
    );
    const targets = list.split(",").map((target) => target.trim());
    if (!/^[\w.-]+$/.test(alias) || !targets.every((target) => /^[\w.-]+\/\S+$/.test(target))) {
      context.addIssue({ code: "custom", message: "must look like fast=groq/model,openai/model;smart=openai/model" });
      return z.NEVER;
    }
    if (!areKnown(targets, context) || isTwice(result, alias, context)) return z.NEVER;
    result.set(alias, targets);
  }
  return result;
}

/** Whether each target's provider is one that there is; says which is not. */
function areKnown(targets: readonly string[], context: z.RefinementCtx): boolean {
  const stranger = targets.map((target) => target.split("/", 1)[0] ?? "").find((name) => !PROVIDERS.includes(name));
  if (stranger === undefined) return true;
  const message = `${stranger} is no provider; there are ${PROVIDERS.join(", ")}`;
  context.addIssue({ code: "custom", message });
  return false;
}

/** Whether a name stands there already; says which. */
function isTwice(named: ReadonlyMap<string, unknown>, name: string, context: z.RefinementCtx): boolean {
  if (!named.has(name)) return false;
  context.addIssue({ code: "custom", message: `has ${name} twice; of each name there is one` });
  return true;
}

/** `openai/my-model=0.15/0.60;…`: USD per million input and output tokens */
export function prices(value: string, context: z.RefinementCtx): Map<string, Price> {
  const result = new Map<string, Price>();
  for (const part of value.split(";").map((text) => text.trim())) {
    if (part === "") continue;
    const [, target, input, output] = /^(\w+\/[^\s=]+)=(\d+(?:\.\d+)?)\/(\d+(?:\.\d+)?)$/.exec(part) ?? [];
    if (target === undefined) {
      context.addIssue({ code: "custom", message: "must look like openai/model=0.15/0.60;groq/model=0.1/0.5" });
      return z.NEVER;
    }
    if (!areKnown([target], context) || isTwice(result, target, context)) return z.NEVER;
    result.set(target, { input: Number(input), output: Number(output) });
  }
  return result;
}

/** `openai/my-model=131072;…`: tokens that a model takes in */
export function windows(value: string, context: z.RefinementCtx): Map<string, number> {
  const result = new Map<string, number>();
  for (const part of value.split(";").map((text) => text.trim())) {
    if (part === "") continue;
    const [, target, tokens] = /^(\w+\/[^\s=]+)=([1-9]\d{2,8})$/.exec(part) ?? [];
    if (target === undefined) {
      context.addIssue({ code: "custom", message: "must look like openai/my-model=131072;runpod/my-endpoint=32768" });
      return z.NEVER;
    }
    if (isTwice(result, target, context)) return z.NEVER;
    result.set(target, Number(tokens));
  }
  return result;
}

/** An address as the client takes it: it would throw on another at the start. */
export function isRedis(value: string): boolean {
  const parsed = URL.parse(value);
  if (!parsed || !/^rediss?:$/.test(parsed.protocol) || parsed.hostname === "") return false;
  return /^(\/\d{0,5})?$/.test(parsed.pathname) && isDecodable(parsed.username) && isDecodable(parsed.password);
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

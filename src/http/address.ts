import { isIP, isIPv6 } from "node:net";
import type { Context } from "hono";
import type { HttpEnv } from "./env.ts";

/**
 * The address of the client: that of the connection, or, behind `proxies` proxies that each add the address of whom they
 * heard it from to `X-Forwarded-For`, the one that the outermost of them added. What stands before that may be anybody's
 * invention.
 */
export function clientAddress(c: Context<HttpEnv>, proxies: number): string {
  const own = c.env?.address?.(c.req.raw) ?? c.env?.incoming?.socket.remoteAddress ?? "unknown";
  if (proxies === 0) return own;
  const told = (c.req.header("x-forwarded-for") ?? "").split(",").map((entry) => entry.trim());
  const outermost = told.at(-proxies) ?? told[0] ?? "";
  return isIP(outermost) === 0 ? own : outermost;
}

/** What counts as one client: an IPv4 address, or the /64 network in which one IPv6 customer has all addresses. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped) return mapped;
  if (!isIPv6(address)) return address;
  const [head = "", tail] = address.replace(/%.*$/, "").toLowerCase().split("::");
  const groups = head === "" ? [] : head.split(":");
  const behind = tail ? tail.split(":").length : 0;
  const filled = tail === undefined ? groups : [...groups, ...Array<string>(8 - groups.length - behind).fill("0")];
  const whole = tail ? [...filled, ...tail.split(":")] : filled;
  return `${whole
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":")}::/64`;
}

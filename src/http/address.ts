import { isIP, isIPv6 } from "node:net";
import type { Context } from "hono";
import type { HttpEnv } from "./env.ts";

/**
 * The address of the client: that of the connection, or, behind `proxies` proxies that each add the address of whom they
 * heard it from to `X-Forwarded-For`, the one that the outermost of them added. What stands before that may be anybody's
 * invention.
 */
export function clientAddress(c: Context<HttpEnv>, proxies: number): string {
  const own = c.env?.address?.() ?? c.env?.incoming?.socket.remoteAddress ?? "unknown";
  if (proxies === 0) return own;
  const told = (c.req.header("x-forwarded-for") ?? "").split(",").map((entry) => withoutPort(entry.trim()));
  const outermost = told.at(-proxies) ?? told[0] ?? "";
  return isIP(outermost) === 0 ? own : outermost;
}

/** Some proxies add the port: `192.0.2.1:4711`, `[2001:db8::1]:4711`. */
const withoutPort = (entry: string) =>
  /^\[([^\]]+)\](:\d+)?$/.exec(entry)?.[1] ?? /^([\d.]+):\d+$/.exec(entry)?.[1] ?? entry;

/** What counts as one client: an IPv4 address, or the /64 network in which one IPv6 customer has all addresses. */
export function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const groups = groupsOf(address);
  const [high = 0, low = 0] = groups.slice(6);
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (isMapped) return [high >> 8, high & 255, low >> 8, low & 255].join(".");
  const network = groups.slice(0, 4).map((group) => group.toString(16));
  return `${network.join(":")}::/64`;
}

/** The eight numbers of an IPv6 address; its zone, if it has one, means something on this machine alone. */
function groupsOf(address: string): number[] {
  const { hostname } = new URL(`http://[${address.replace(/%.*$/, "")}]`); // spelled in one way, whatever way it came in
  const [head = [], tail = []] = hostname
    .slice(1, -1)
    .split("::")
    .map((part) => (part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16))));
  return [...head, ...Array<number>(8 - head.length - tail.length).fill(0), ...tail];
}

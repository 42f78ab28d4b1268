import { Hono } from "hono";
import { describe, expect, it } from "vitest";
import { clientAddress, networkOf } from "../../src/http/address.ts";
import type { HttpEnv } from "../../src/http/env.ts";

const OWN = "10.0.0.9";

/** Whom a request counts for that came over a connection from OWN. */
async function addressOf(proxies: number, forwarded?: string): Promise<string> {
  const app = new Hono<HttpEnv>().get("/", (c) => c.text(clientAddress(c, proxies)));
  const init = forwarded === undefined ? {} : { headers: { "x-forwarded-for": forwarded } };
  return (await app.request("/", init, { address: () => OWN })).text();
}

describe("the address of a client", () => {
  it("is that of the connection, whatever the request says, where no proxy is trusted", async () => {
    for (const forwarded of [undefined, "192.0.2.1", "192.0.2.1, 192.0.2.2", "nonsense", ""]) {
      expect(await addressOf(0, forwarded)).toBe(OWN);
    }
  });

  it.each([
    { proxies: 1, forwarded: "192.0.2.1", found: "192.0.2.1" },
    { proxies: 1, forwarded: "6.6.6.6, 192.0.2.1", found: "192.0.2.1" },
    { proxies: 1, forwarded: "6.6.6.6,7.7.7.7,  192.0.2.1 ", found: "192.0.2.1" },
    { proxies: 2, forwarded: "192.0.2.1, 10.0.0.1", found: "192.0.2.1" },
    { proxies: 2, forwarded: "6.6.6.6, 192.0.2.1, 10.0.0.1", found: "192.0.2.1" },
    { proxies: 2, forwarded: "10.0.0.1", found: "10.0.0.1" }, // came by the inner one alone
  ])("is what the outermost of $proxies proxies added: $forwarded", async ({ proxies, forwarded, found }) => {
    expect(await addressOf(proxies, forwarded)).toBe(found);
  });

  it.each([
    "unknown",
    "",
    ",",
    "192.0.2",
    "192.0.2.1.5",
    "example.com",
    "192.0.2.1, x",
    "[::1",
    "1",
    "-",
    "x".repeat(9000),
  ])("is that of the connection where what the proxy added is none: %s", async (forwarded) => {
    expect(await addressOf(1, forwarded)).toBe(OWN);
  });

  it.each([
    ["192.0.2.1:4711", "192.0.2.1"],
    ["[2001:db8::1]:4711", "2001:db8::1"],
    ["[2001:db8::1]", "2001:db8::1"],
    ["2001:db8::1", "2001:db8::1"],
  ])("may come with a port: %s", async (forwarded, found) => {
    expect(await addressOf(1, forwarded)).toBe(found);
  });

  it("is nobody's where there is no connection", async () => {
    const app = new Hono<HttpEnv>().get("/", (c) => c.text(clientAddress(c, 0)));
    expect(await (await app.request("/")).text()).toBe("unknown");
  });
});

describe("one client", () => {
  it.each([
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["::FFFF:c000:0201", "192.0.2.1"],
    ["0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:db8:1:2::", "2001:db8:1:2::/64"],
    ["2001:0DB8:0001:0002:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["2001:db8:0:0:1::", "2001:db8:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["::", "0:0:0:0::/64"],
    ["::2:3:4:5:6:7:8", "0:2:3:4::/64"],
    ["::2:3:4:5:6:192.0.2.1", "0:2:3:4::/64"],
    ["64:ff9b::192.0.2.1", "64:ff9b:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["unknown", "unknown"],
  ])("%s is one of %s", (address, network) => {
    expect(networkOf(address)).toBe(network);
  });
});

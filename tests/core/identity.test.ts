import { describe, expect, it } from "vitest";
import { type Actor, actAs, type Principal } from "../../src/core/identity.ts";

type Case = { who: string; principal: Principal; named: string | undefined; actor: Actor };

const user: Principal = { role: "user", userId: "ada" };
const agent: Principal = { role: "agent", userId: "eve" };
const admin: Principal = { role: "admin", userId: "root" };
const open: Principal = { role: "open", userId: null };
const header: Principal = { role: "open", userId: "ada" };
const service = (role: "user" | "agent" | "admin", userId: string | null = null): Principal => ({
  role,
  service: "crm",
  userId,
});

const ada = { self: "ada", owner: null, userId: "ada" };
const eve = { self: "eve", sees: "live" } as const;
const root = { self: "root", sees: "all" } as const;

describe("a caller acts", () => {
  it.each<Case>([
    { who: "a user", principal: user, named: undefined, actor: { ...ada, sees: "own" } },
    { who: "a user who names itself", principal: user, named: "ada", actor: { ...ada, sees: "own" } },
    { who: "an agent", principal: agent, named: undefined, actor: { ...eve, owner: null, userId: "eve" } },
    {
      who: "an agent who names a user",
      principal: agent,
      named: "ada",
      actor: { ...eve, owner: "ada", userId: "ada" },
    },
    {
      who: "an agent who names itself",
      principal: agent,
      named: "eve",
      actor: { ...eve, owner: "eve", userId: "eve" },
    },
    { who: "an admin", principal: admin, named: undefined, actor: { ...root, owner: null, userId: "root" } },
    {
      who: "an admin who names a user",
      principal: admin,
      named: "ada",
      actor: { ...root, owner: "ada", userId: "ada" },
    },
    {
      who: "nobody, where the service is open",
      principal: open,
      named: undefined,
      actor: { self: "anonymous", sees: "all", owner: null, userId: "anonymous" },
    },
    {
      who: "a user who is named, where the service is open",
      principal: open,
      named: "bob",
      actor: { self: "bob", sees: "all", owner: "bob", userId: "bob" },
    },
    {
      who: "the user of X-User-Id, where the service is open",
      principal: header,
      named: undefined,
      actor: { self: "ada", sees: "all", owner: "ada", userId: "ada" },
    },
    {
      who: "a user who is named rather than X-User-Id, where the service is open",
      principal: header,
      named: "bob",
      actor: { self: "bob", sees: "all", owner: "bob", userId: "bob" },
    },
    {
      who: "a service that names nobody",
      principal: service("user"),
      named: undefined,
      actor: { self: "crm", sees: "own", owner: null, userId: "crm" },
    },
    {
      who: "a service that names a user",
      principal: service("user"),
      named: "ada",
      actor: { ...ada, sees: "own", owner: "ada" },
    },
    {
      who: "a service that names a user for the whole request",
      principal: service("user", "ada"),
      named: undefined,
      actor: { ...ada, sees: "own", owner: "ada" },
    },
    {
      who: "a service that names the same user for the whole request and in it",
      principal: service("agent", "ada"),
      named: "ada",
      actor: { self: "ada", sees: "live", owner: "ada", userId: "ada" },
    },
    {
      who: "a service that may see all, and names nobody",
      principal: service("admin"),
      named: undefined,
      actor: { self: "crm", sees: "all", owner: null, userId: "crm" },
    },
  ])("as $who", ({ principal, named, actor }) => {
    expect(actAs(principal, named)).toEqual(actor);
  });

  it.each(["user", "agent", "admin"] as const)("as nobody, being a service (%s) that names two users", (role) => {
    expect(() => actAs(service(role, "ada"), "bob")).toThrow(expect.objectContaining({ code: "forbidden" }));
  });

  it.each(["bob", "Ada", " ada", ""])("never as somebody else, being a user: “%s” is forbidden", (named) => {
    expect(() => actAs(user, named)).toThrow(expect.objectContaining({ code: "forbidden" }));
  });
});

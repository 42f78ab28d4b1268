import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { expectProblem } from "../support/http-expect.ts";
import { bearer } from "../support/http-keys.ts";
import { declares, useApp } from "../support/http-setup.ts";

const KEYS = { crm: "crm-key.of.the.tests", desk: "desk-key-of-the-tests", ops: "ops-key-of-the-tests" };
const digest = (key: string) => createHash("sha256").update(key).digest("hex");
const API_KEYS = [`crm:user:${digest(KEYS.crm)}`, `desk:agent:${digest(KEYS.desk)}`, `ops:admin:${digest(KEYS.ops)}`];

const [crm, desk, ops] = [bearer(KEYS.crm), bearer(KEYS.desk), bearer(KEYS.ops)];
const SERVICES: [string, Record<string, string>][] = [
  ["user", crm],
  ["agent", desk],
  ["admin", ops],
];

type Schema = { $ref?: string; properties?: object; allOf?: Schema[] };
type Operation = { requestBody?: { content: Record<string, { schema?: Schema }> } };

describe.each(databases)("services with keys, on $database,", ({ fresh }) => {
  const parts = useApp({ API_KEYS: API_KEYS.join(","), JWT_SECRET: SECRET }, fresh);
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);
  const chatsOf = async (who: Record<string, string>, query = ""): Promise<string[]> =>
    (await call("GET", `/chats${query}`, undefined, who)).json.chats.map(({ id }: { id: string }) => id);

  let users = 0;
  const newUser = () => `user-${++users}`;
  const chatOf = async (user_id: string): Promise<string> => (await call("POST", "/chats", { user_id }, crm)).json.id;

  it.each(SERVICES)("come in as %s", async (_, who) => {
    expect((await call("GET", "/chats", undefined, who)).status).toBe(200);
  });

  it.each([
    ["another key", "other-key-of-the-tests"],
    ["the beginning of a key", KEYS.crm.slice(0, -1)],
    ["a key and more", `${KEYS.crm}x`],
    ["a key in other letters", KEYS.crm.toUpperCase()],
    ["the digest of a key", digest(KEYS.crm)],
    ["the digest in bytes", Buffer.from(digest(KEYS.crm), "hex").toString("latin1").replace(/\s|\0/g, "x")],
    ["a name", "crm"],
    ["an entry", API_KEYS[0] ?? ""],
    ["two keys", `${KEYS.crm},${KEYS.ops}`],
  ])("do not come in with %s", async (_, key) => {
    expectProblem(await call("GET", "/chats", undefined, bearer(key)), 401, "unauthorized");
    expectProblem(await call("GET", "/chats?user_id=ann", undefined, bearer(key)), 401, "unauthorized");
  });

  it("do not come in by X-User-Id, or by a key under another scheme", async () => {
    expectProblem(await call("GET", "/chats", undefined, { "x-user-id": "crm" }), 401, "unauthorized");
    const basic = { authorization: `Basic ${btoa(`crm:${KEYS.crm}`)}` };
    expectProblem(await call("GET", "/chats", undefined, basic), 401, "unauthorized");
  });

  it.each(SERVICES)("as %s act for the user named in the body, the query or X-User-Id", async (_, who) => {
    const [body, query, header] = [newUser(), newUser(), newUser()];
    const made = async (path: string, sent: object, headers = {}) =>
      (await call("POST", path, sent, { ...who, ...headers })).json.user_id;
    expect(await made("/chats", { user_id: body })).toBe(body);
    expect(await made(`/chats?user_id=${query}`, {})).toBe(query);
    expect(await made("/chats", {}, { "x-user-id": header })).toBe(header);
    expect(await made(`/chats?user_id=${body}`, { user_id: body }, { "x-user-id": body })).toBe(body);
    for (const user of [query, header]) expect(await chatsOf(await as(user))).toHaveLength(1);
  });

  it.each(SERVICES)(
    "as %s are refused where a request names two different users, and change nothing",
    async (_, who) => {
      const [ann, bob] = [newUser(), newUser()];
      const id = await chatOf(ann);
      const fromBob = { ...who, "x-user-id": bob };
      const refused = [
        await call("GET", `/chats/${id}?user_id=${ann}`, undefined, fromBob),
        await call("GET", `/chats?user_id=${ann}`, undefined, fromBob),
        await call("GET", `/api/v1/users/${ann}/sessions`, undefined, fromBob),
        await call("GET", `/api/v1/users/${ann}/sessions?user_id=${bob}`, undefined, who),
        await call("GET", `/api/v1/queue?user_id=${ann}&user_id=${bob}`, undefined, desk),
        await call("POST", "/chats", { user_id: ann }, fromBob),
        await call("POST", `/chats?user_id=${bob}`, { user_id: ann }, who),
        await call("POST", "/api/chat/send", { message: "x", conversation_id: id, user_id: ann }, fromBob),
        await call("PATCH", `/chats/${id}`, { title: "x", user_id: ann }, fromBob),
        await call("DELETE", `/chats/${id}?user_id=${ann}`, undefined, fromBob),
        await call("POST", `/api/v1/sessions/${id}/typing`, { sender_id: ann, typing: true, user_id: ann }, fromBob),
        await call("POST", `/api/v1/messages/${id}/regenerate`, { user_id: ann }, fromBob),
      ];
      for (const called of refused) {
        expectProblem(called, 403, "forbidden");
        expect(called.json.detail).toContain("two different users");
      }
      expect(await chatsOf(await as(ann))).toEqual([id]);
      expect(await chatsOf(await as(bob))).toEqual([]);
    },
  );

  it("are nobody's guess: a body that names another user than the query is refused for everybody", async () => {
    const [ann, bob] = [newUser(), newUser()];
    for (const who of [await as(ann), await as("root", "admin"), await as("eve", "agent")]) {
      expectProblem(await call("POST", `/chats?user_id=${bob}`, { user_id: ann }, who), 403, "forbidden");
    }
  });

  it("may name a user in the body of every route that takes one", async () => {
    const { json } = await call("GET", "/openapi.json");
    const properties = (schema: Schema): string[] => {
      const named = schema.$ref === undefined ? schema : json.components.schemas[schema.$ref.split("/").at(-1) ?? ""];
      return [...Object.keys(named.properties ?? {}), ...(named.allOf ?? []).flatMap(properties)];
    };
    const bodies = Object.entries<Record<string, Operation>>(json.paths).flatMap(([path, operations]) =>
      Object.entries(operations).flatMap(([method, { requestBody }]) => {
        const schema = path.startsWith("/webhooks/") ? undefined : requestBody?.content["application/json"]?.schema;
        return schema ? [[`${method} ${path}`, properties(schema)] as const] : [];
      }),
    );
    expect(bodies.length).toBeGreaterThan(10);
    for (const [operation, names] of bodies) expect(names, operation).toContain("user_id");
  });

  it.each([
    ["crm", crm],
    ["desk", desk],
    ["ops", ops],
  ])("are themselves, %s, where they name nobody", async (name, who) => {
    const made = (await call("POST", "/chats", {}, who)).json;
    expect(made.user_id).toBe(name);
    expect(await chatsOf(who)).toContain(made.id);
    expect(await chatsOf(await as(name))).toContain(made.id);
  });

  it.each(SERVICES)("as %s see of the user that they name all, and of others nothing", async (_, who) => {
    const [ann, bob] = [newUser(), newUser()];
    const [hers, his] = [await chatOf(ann), await chatOf(bob)];
    for (const [user, own, foreign] of [
      [ann, hers, his],
      [bob, his, hers],
    ] as const) {
      for (const [query, named] of [
        [`?user_id=${user}`, who],
        ["", { ...who, "x-user-id": user }],
      ] as const) {
        expect(await chatsOf(named, query)).toEqual([own]);
        expect((await call("GET", `/chats/${own}${query}`, undefined, named)).status).toBe(200);
        expectProblem(await call("GET", `/chats/${foreign}${query}`, undefined, named), 404, "not_found");
        expectProblem(await call("PATCH", `/chats/${foreign}${query}`, { title: "x" }, named), 404, "not_found");
        expectProblem(await call("DELETE", `/chats/${foreign}${query}`, undefined, named), 404, "not_found");
        const sent = { chat_id: foreign, message: "x", user_id: user };
        expectProblem(await call("POST", "/chat", sent, named), 404, "not_found");
      }
    }
  });

  it("see, where they name nobody, what their role may see", async () => {
    const id = await chatOf(newUser());
    const statuses = [];
    for (const [role, who] of SERVICES) {
      statuses.push([role, (await call("GET", `/chats/${id}`, undefined, who)).status]);
    }
    expect(statuses).toEqual([
      ["user", 404],
      ["agent", 404],
      ["admin", 200],
    ]);
  });

  it("have the Idempotency-Keys of the user that they name", async () => {
    const [ann, bob] = [newUser(), newUser()];
    const keyed = async (user_id: string, who: Record<string, string> = crm) =>
      (await call("POST", "/chats", { user_id, title: "T" }, { ...who, "idempotency-key": "key-1" })).json;
    const first = await keyed(ann);
    expect(await keyed(ann)).toEqual(first);
    const other = await keyed(bob);
    expect(other).toMatchObject({ user_id: bob });
    expect(other.id).not.toBe(first.id);
    expect(await keyed(bob)).toEqual(other);
    expect(await keyed(ann, await as(ann))).toEqual(first);
  });

  it("name the same user in UTF-8, which most clients write, and in Latin-1, as browsers do", async () => {
    const user = `José-${newUser()}`;
    const utf8 = { ...crm, "x-user-id": Buffer.from(user, "utf8").toString("latin1") };
    const latin1 = { ...crm, "x-user-id": user };
    for (const who of [utf8, latin1]) expect((await call("POST", "/chats", {}, who)).json.user_id).toBe(user);
    expect(await chatsOf(crm, `?user_id=${encodeURIComponent(user)}`)).toHaveLength(2);
    const emoji = { ...crm, "x-user-id": Buffer.from("日本🐕", "utf8").toString("latin1") };
    expect((await call("POST", "/chats", {}, emoji)).json.user_id).toBe("日本🐕");
  });

  it("are told where they name nobody who can be", async () => {
    const bad = { ...crm, "x-user-id": "x".repeat(256) };
    expectProblem(await call("GET", "/chats", undefined, bad), 422, "validation_failed");
    expectProblem(await call("GET", `/chats?user_id=${"x".repeat(256)}`, undefined, crm), 422, "validation_failed");
  });

  it("leave users with a token where they were: themselves alone", async () => {
    const [ann, bob] = [newUser(), newUser()];
    expectProblem(await call("GET", `/chats?user_id=${bob}`, undefined, await as(ann)), 403, "forbidden");
    const made = await call("POST", "/chats", {}, { ...(await as(ann)), "x-user-id": bob });
    expect(made.json.user_id).toBe(ann);
  });

  declares(parts);
});

describe("a service with keys alone", () => {
  const parts = useApp({ API_KEYS: API_KEYS.join(",") });

  it("is closed, and takes no token", async () => {
    for (const headers of [{}, { "x-user-id": "ann" }, await as("ann")]) {
      expectProblem(await parts.app.call("GET", "/chats", undefined, headers), 401, "unauthorized");
    }
    expect((await parts.app.call("GET", "/chats", undefined, crm)).status).toBe(200);
  });
});

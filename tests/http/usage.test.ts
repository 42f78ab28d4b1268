import { beforeAll, describe, expect, it } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { expectProblem, laterMillisecond } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";

type Headers = Record<string, string>;

/** What a turn there costs: 11 tokens in and 7 out, at these USD per million. */
const PRICES = "openai/cheap=2/6;openai/dear=200/600";
const CHEAP = (11 * 2 + 7 * 6) / 1e6;
const DEAR = 100 * CHEAP;

const sums = (turns: number, cost: number | null, more: object = {}) => ({
  turns,
  input_tokens: 11 * turns,
  output_tokens: 7 * turns,
  estimated_turns: 0,
  cost_usd: cost === null ? null : expect.closeTo(cost, 9),
  unpriced_turns: cost === null ? turns : 0,
  ...more,
});
const nothing = { ...sums(0, null), models: [] };

describe.each(databases)("what turns used, on $database", ({ fresh }) => {
  const parts = useApp({ JWT_SECRET: SECRET, PRICES }, fresh);
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);
  const usage = (who: Headers, query = "") => call("GET", `/api/v1/usage${query}`, undefined, who);

  let users = 0;
  const newUser = async (role: "user" | "agent" = "user") => {
    const id = `user-${++users}`;
    return { id, who: await as(id, role) };
  };
  /** A turn of that user, in a chat of its own. */
  async function turnOf(
    who: Headers,
    model = "openai/cheap",
  ): Promise<{ chat_id: string; turn: { created_at: string } }> {
    const sent = await call("POST", "/generate-response", { message: "Hello", model }, who);
    const { turn_id } = sent.json;
    return { chat_id: sent.json.chat_id, turn: (await call("GET", `/api/v1/turns/${turn_id}`, undefined, who)).json };
  }
  let admin: Headers;
  beforeAll(async () => {
    admin = await as("root", "admin");
  });

  it("has no time that begins after its end", async () => {
    const { who } = await newUser();
    const backwards = await usage(who, "?from=2026-02-01&to=2026-01-01");
    expectProblem(backwards, 422, "validation_failed");
    expect(backwards.json.detail).toBe("from: must not be later than to");
    expect((await usage(who, "?from=2026-01-01&to=2026-01-01")).status).toBe(200);
  });

  it("is nothing for a user who has asked nothing", async () => {
    const { id, who } = await newUser();
    const { status, json } = await usage(who);
    expect(status).toBe(200);
    expect(json).toEqual({ user_id: id, from: null, to: null, ...nothing });
  });

  it("is summed by the model that answered, and in all", async () => {
    const { id, who } = await newUser();
    for (const model of ["openai/cheap", "openai/dear", "openai/cheap"]) await turnOf(who, model);
    expect((await usage(who)).json).toEqual({
      ...{ user_id: id, from: null, to: null },
      ...sums(3, 2 * CHEAP + DEAR),
      models: [
        { model: "openai/cheap", ...sums(2, 2 * CHEAP) },
        { model: "openai/dear", ...sums(1, DEAR) },
      ],
    });
  });

  it("has no cost where no price is known, and counts such turns beside a cost that is without them", async () => {
    const { who } = await newUser();
    await turnOf(who, "openai/nobody-knows");
    expect((await usage(who)).json).toMatchObject(sums(1, null));
    await turnOf(who);
    expect((await usage(who)).json).toMatchObject({
      ...sums(2, CHEAP, { unpriced_turns: 1 }),
      models: [
        { model: "openai/cheap", ...sums(1, CHEAP) },
        { model: "openai/nobody-knows", ...sums(1, null) },
      ],
    });
  });

  it("counts tokens that had to be estimated, and says in how many turns", async () => {
    const { who } = await newUser();
    await turnOf(who);
    parts.provider.behave(() => ({ usage: null }));
    await turnOf(who);
    const { json } = await usage(who);
    expect(json).toMatchObject({ turns: 2, estimated_turns: 1, unpriced_turns: 0 });
    expect(json.input_tokens).toBeGreaterThan(11);
    expect(json.cost_usd).toBeGreaterThan(CHEAP);
  });

  it("takes a turn that used no tokens for one without a cost, not for one without a price", async () => {
    const { who } = await newUser();
    await turnOf(who);
    parts.provider.behave(() => ({ status: 400 }));
    await call("POST", "/generate-response", { message: "Hello", model: "openai/cheap" }, who);
    expect((await usage(who)).json).toMatchObject({ ...sums(1, CHEAP), turns: 2, unpriced_turns: 0 });
  });

  it("is that of the turns that began at `from` or later, and before `to`", async () => {
    const { who } = await newUser();
    const began: string[] = [];
    for (let i = 0; i < 3; i++) {
      began.push((await turnOf(who)).turn.created_at);
      await laterMillisecond();
    }
    const [first = "", second = "", third = ""] = began;
    const turnsIn = async (query: string) => (await usage(who, query)).json.turns;
    expect(await turnsIn(`?from=${first}`)).toBe(3);
    expect(await turnsIn(`?from=${second}`)).toBe(2);
    expect(await turnsIn(`?to=${second}`)).toBe(1);
    expect(await turnsIn(`?from=${second}&to=${third}`)).toBe(1);
    expect(await turnsIn(`?from=${second}&to=${second}`)).toBe(0);
    expect(await turnsIn(`?to=${first}`)).toBe(0);
  });

  it("takes times of any zone and whole days, and says in UTC what it took them for", async () => {
    const { id, who } = await newUser();
    await turnOf(who);
    const from = encodeURIComponent("2026-01-31T12:00:00+02:00");
    expect((await usage(who, `?from=${from}&to=2026-02-01`)).json).toEqual({
      ...{ user_id: id, from: "2026-01-31T10:00:00.000Z", to: "2026-02-01T00:00:00.000Z" },
      ...nothing,
    });
  });

  it("takes a time whose year has no four digits in UTC for the last one that has", async () => {
    const { id, who } = await newUser();
    const [from, to] = ["0000-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"].map(encodeURIComponent);
    expect((await usage(who, `?from=${from}&to=${to}`)).json).toEqual({
      ...{ user_id: id, from: "0000-01-01T00:00:00.000Z", to: "9999-12-31T23:59:59.999Z" },
      ...nothing,
    });
  });

  it.each(["from=yesterday", "to=2026-13-01", "from=2026-02-30", "to=2026-01-31T12:00:00", "from=1700000000", "to="])(
    "refuses %s",
    async (query) => {
      const refused = await usage(admin, `?${query}`);
      expectProblem(refused, 422, "validation_failed");
      expect(refused.json.errors[0].path).toBe(query.split("=")[0]);
    },
  );

  it.each(["user", "agent"] as const)("is shown to a %s for itself alone", async (role) => {
    const [mine, other] = [await newUser(role), await newUser()];
    await turnOf(mine.who);
    await turnOf(other.who, "openai/dear");
    for (const query of ["", `?user_id=${mine.id}`]) {
      expect((await usage(mine.who, query)).json).toMatchObject({ user_id: mine.id, ...sums(1, CHEAP) });
    }
    expectProblem(await usage(mine.who, `?user_id=${other.id}`), 403, "forbidden");
  });

  it("is shown to an admin for everybody, or for one who is named", async () => {
    const before = (await usage(admin)).json;
    const [ann, bob] = [await newUser(), await newUser()];
    await turnOf(ann.who);
    await turnOf(bob.who, "openai/dear");
    const after = (await usage(admin)).json;
    expect(after).toMatchObject({ user_id: null, turns: before.turns + 2 });
    expect(after.cost_usd).toBeCloseTo(before.cost_usd + CHEAP + DEAR, 9);
    expect((await usage(admin, `?user_id=${bob.id}`)).json).toMatchObject({ user_id: bob.id, ...sums(1, DEAR) });
  });

  it("is kept when the chat is deleted", async () => {
    const { who } = await newUser();
    const { chat_id } = await turnOf(who);
    expect((await call("DELETE", `/chats/${chat_id}`, undefined, who)).status).toBe(204);
    expect((await usage(who)).json).toMatchObject(sums(1, CHEAP));
  });

  it("is nobody's to see without a token", async () => {
    expectProblem(await call("GET", "/api/v1/usage"), 401, "unauthorized");
  });

  declares(parts);
});

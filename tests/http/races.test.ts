import { expect, it } from "vitest";
import { freshPostgres } from "../support/databases.ts";
import { connectPostgres } from "../support/db-postgres.ts";
import { startHttp } from "../support/http-app.ts";

/** What the database's owner has set is not ours to know: here transactions fail that lost a race. */
async function strictDatabase(): Promise<string> {
  const url = await freshPostgres();
  const name = new URL(url).pathname.slice(1);
  await connectPostgres(url).unsafe(`alter database ${name} set default_transaction_isolation = 'repeatable read'`);
  return url;
}

it("moves that race with interrupts on three sessions lock nobody out on Postgres, and are nobody's 500", async () => {
  const url = await strictDatabase();
  const app = await startHttp({ DATABASE_URL: url, DRAIN_TIMEOUT_S: "1" });
  const sessions = await Promise.all(
    Array.from({ length: 3 }, async () => String((await app.call("POST", "/api/v1/sessions", {})).json.id)),
  );
  const said = { sender_type: "user", sender_id: "ann", content: "Hello", if_busy: "interrupt" };
  const acts: ((id: string, n: number) => ReturnType<typeof app.call>)[] = [
    (id) => app.call("POST", `/api/v1/sessions/${id}/messages`, said),
    (id) => app.call("POST", `/api/v1/sessions/${id}/transfer`, { to: "agent", agent_id: "bo" }),
    (id) => app.call("POST", `/api/v1/sessions/${id}/transfer`, { to: "assistant" }),
    (id, n) => app.call("POST", "/chat", { chat_id: id, message: "Hi" }, { "Idempotency-Key": `key-${n}` }),
    (id) => app.call("POST", "/chat", { chat_id: id, message: "Hi", if_busy: "interrupt" }),
  ];
  const statuses = await Promise.all(
    Array.from({ length: 240 }, async (_, n) => {
      const [act, id] = [acts[n % acts.length], sessions[n % sessions.length]];
      return act && id ? (await act(id, n)).status : 0;
    }),
  );
  expect(statuses.filter((status) => ![200, 201, 409, 429].includes(status))).toEqual([]);
  expect(statuses.filter((status) => status < 300).length).toBeGreaterThan(0);
  const admin = connectPostgres(url);
  const [row] = await admin`select deadlocks::int from pg_stat_database where datname = current_database()`;
  expect(row).toEqual({ deadlocks: 0 });
  await app.stop();
});

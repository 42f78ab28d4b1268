import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { eq } from "drizzle-orm";
import type postgres from "postgres";
import { describe, expect, it, onTestFinished } from "vitest";
import { freshPostgres } from "../support/databases.ts";
import { useDatabase } from "../support/db-handles.ts";
import { nextId } from "../support/db-ids.ts";
import { marksOf } from "../support/db-marks.ts";
import { blocked, connectPostgres } from "../support/db-postgres.ts";
import { startWire } from "../support/db-wire.ts";

const program = fileURLToPath(new URL("../support/db-outage.ts", import.meta.url));

/** Runs the program; one that hangs is killed. */
function start(...args: string[]) {
  const child = spawn(process.execPath, [program, ...args], { timeout: 100_000, killSignal: "SIGKILL" });
  onTestFinished(() => void child.kill("SIGKILL"));
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (output += text));
  const ended = once(child, "close").then(([code, signal]) => ({ code: code ?? signal, output }));
  const told = new Promise((resolve) => child.stdout.once("data", resolve));
  return { ended, heardOf: () => Promise.race([told, ended]) };
}

/** The server ends every session that waits for a lock. */
const endSessions = (client: postgres.Sql) =>
  client`select pg_terminate_backend(pid) from pg_stat_activity
    where wait_event_type = 'Lock' and datname = current_database()`;

const losses = ["ended by the server", "closed", "reset"] as const;
const forms = ["batches", "turns", "statements"] as const;

describe.each(forms)("a process whose connections are lost in the middle of %s", (form) => {
  const handles = useDatabase(freshPostgres);

  it.each(losses)("has these refused, and goes on, where the connections were %s", async (how) => {
    const { db } = handles;
    const { conversations, turns } = db.tables;
    const held = nextId();
    const { read, userId } = marksOf(`waits for ${held}`);
    await db.batch([marksOf().put(held)]);
    await db.insert(conversations).values({ id: held, userId, createdAt: 1, updatedAt: 1 });
    const [outside, wire] = [connectPostgres(handles.url), await startWire(handles.url)];
    const { ended } = await outside.begin(async (tx) => {
      await tx`select 1 from tombstones t, conversations c where t.id = ${held} and c.id = ${held} for update`;
      const { ended, heardOf } = start(wire.url, held, form);
      await blocked(outside, 10);
      if (how === "ended by the server") await endSessions(outside);
      else wire.lose(how);
      await heardOf();
      return { ended };
    });
    const { code, output } = await ended;
    const told = (word: string) => output.split("\n").filter((line) => line === word).length;
    expect({ code, lost: told("lost"), stored: told("stored"), output }).toMatchObject({
      code: 0,
      lost: 10,
      stored: 10,
    });
    const marks = await read(db);
    const asked = await db.select().from(turns).where(eq(turns.userId, userId));
    const elsewhere = asked.filter(({ conversationId }) => conversationId !== held);
    expect([...marks.filter(({ rev }) => rev === 0), ...elsewhere]).toHaveLength(10); // stored afterwards
    // Of a batch nothing is stored without its COMMIT; a lone statement that was sent may yet be carried out.
    expect(marks.filter(({ rev }) => rev === 1)).toHaveLength(form === "batches" ? 10 : 0); // stored before
  });
});

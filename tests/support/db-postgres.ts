import postgres from "postgres";
import { expect, onTestFinished } from "vitest";

/** Another program's connections, closed when the test is over. */
export function connectPostgres(url: string): postgres.Sql {
  const client = postgres(url, { max: 2, onnotice: () => {} });
  onTestFinished(() => client.end({ timeout: 5 }));
  return client;
}

/** Resolves once so many statements on the client's database wait for somebody's lock. */
export async function blocked(client: postgres.Sql, times = 1): Promise<void> {
  const waiting = () =>
    client`select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`;
  await expect.poll(waiting, { interval: 5 }).toHaveLength(times);
}

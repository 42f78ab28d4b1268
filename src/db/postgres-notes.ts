import type postgres from "postgres";
import type { Carrier } from "./carrier.ts";
import type { Pools } from "./postgres-pools.ts";
import { clientOf, type Server } from "./postgres-server.ts";
import { within } from "./within.ts";

const CHANNEL = "parley_notes";
/** Postgres takes fewer than 8,000 bytes. */
const LONGEST_NOTE = 7_900;
/** How often LISTEN is said again, in milliseconds: it costs nothing, and tells whether the connection is alive. */
const BEAT_MS = 2_000;

/** LISTEN, over a connection of its own that is replaced when it is lost or falls silent, and NOTIFY. */
export const notifications = (server: Server, pools: Pick<Pools, "statement">): Carrier => ({
  longest: LONGEST_NOTE,
  carriesTyping: false,
  publish: async (text) =>
    void (await pools.statement((client) =>
      client.unsafe("select pg_notify($1, $2)", [CHANNEL, text], { prepare: true }),
    )),
  subscribe: (hear) => listen(server, hear),
});

async function listen(server: Server, hear: (text: string) => void): Promise<() => Promise<void>> {
  let isOver = false;
  let asking: Promise<void> | undefined;
  let client = make();

  function make(): postgres.Sql {
    const made: postgres.Sql = clientOf(server, {
      max: 1,
      idle_timeout: undefined,
      max_lifetime: null,
      fetch_types: false,
      onclose: () => void (made === client && ask()),
      ...{ onnotify: (channel: string, text: string) => channel === CHANNEL && hear(text) },
    });
    return made;
  }

  function ask(): Promise<void> {
    if (isOver || server.isPooled) return Promise.resolve();
    asking ??= say().finally(() => {
      asking = undefined;
    });
    return asking;
  }

  async function say(): Promise<void> {
    const used = client;
    try {
      await within(server.timeoutMs, Promise.resolve(used.unsafe(`listen ${CHANNEL}`)));
    } catch {
      if (isOver || used !== client) return; // and is said again at the next beat; until then changes are found by looking
      client = make();
      void used.end({ timeout: 0 });
    }
  }

  const timer = setInterval(() => void ask(), BEAT_MS).unref();
  await ask();
  return async () => {
    isOver = true;
    clearInterval(timer);
    await client.end({ timeout: 1 });
  };
}

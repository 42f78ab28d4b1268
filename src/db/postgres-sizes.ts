import type { Server } from "./postgres-server.ts";

/** Connections that an instance may have where nothing is said of it, and with how few it does. */
export const POOL_MAX = 20;
export const POOL_LEAST = 3;

export type Sizes = { readonly statements: number; readonly transactions: number; readonly listens: boolean };

/** How many connections there are of each kind: as many as are asked for, and fewer than the server gives this role. */
export function sizesOf({ limit, isPooled }: Pick<Server, "limit" | "isPooled">, poolMax = POOL_MAX): Sizes {
  const given = limit === null || limit <= POOL_LEAST ? limit : limit - 1; // one is left for a person who looks
  const most = Math.min(poolMax, given ?? poolMax);
  const listens = !isPooled && most >= POOL_LEAST;
  const rest = Math.max(2, most - (listens ? 1 : 0));
  const transactions = Math.floor(rest / 2);
  return { transactions, statements: rest - transactions, listens };
}

/** What an operator is told of a server that is not as usual. */
export function linesOf(server: Pick<Server, "limit" | "isPooled">, poolMax = POOL_MAX): string[] {
  const { transactions, statements, listens } = sizesOf(server, poolMax);
  const all = transactions + statements + (listens ? 1 : 0);
  return [
    ...(server.isPooled
      ? ["a pooler stands before Postgres: no prepared statements and no LISTEN; changes by other instances are polled"]
      : []),
    ...(server.limit !== null && all < poolMax
      ? [`Postgres gives this role or database ${server.limit} connections: ${all} of them are used at most`]
      : []),
  ];
}

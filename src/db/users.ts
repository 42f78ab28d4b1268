import { type SQL, sql } from "drizzle-orm";
import type { Source } from "./db.ts";

/**
 * The first users that have conversations behind a user, in the order of their ids, as a table `users` of one column
 * `user_id`: one step of the index for each, however many conversations it has.
 */
export function usersAfter({ tables }: Source, after: unknown, limit: unknown): SQL {
  const c = tables.conversations;
  const next = (place: unknown) => sql`(select min(${c.userId}) from ${c} where ${c.userId} > ${place})`;
  return sql`(
    with recursive found(user_id) as (
      select ${next(sql`cast(${after} as text)`)}
      union all
      select ${next(sql`found.user_id`)} from found where found.user_id is not null
    )
    select user_id from found where user_id is not null limit ${limit}
  ) users`;
}

import { type SQL, sql } from "drizzle-orm";

const words = (of: string) =>
  `${of}role <> 'system' and ${of}status in ('completed', 'incomplete') and ${of}size > 0 and ${of}deleted_at is null and ${of}superseded_at is null`;

/**
 * Which messages lists show and counts count, under the name that a statement gives them: whole or cut off, with text;
 * neither deleted or superseded ones nor notes of the system. The index `messages_listed` holds these alone, and serves
 * whoever asks in these words.
 */
export const listedAs = (name: string): SQL => sql.raw(words(`${name}.`));

/** The same where there is one table: in an index. */
export const LISTED: SQL = sql.raw(words(""));

import { readdirSync, readFileSync } from "node:fs";
import { PgDialect } from "drizzle-orm/pg-core";
import { describe, expect, it, onTestFinished } from "vitest";
import { listedAs } from "../../src/db/listed.ts";
import { migrateSqlite } from "../../src/db/migrate.ts";
import { openClient } from "../../src/db/sqlite.ts";

const { sql: listed } = new PgDialect().sqlToQuery(listedAs("m"));

describe("messages that lists show", () => {
  it("are counted by an index that holds these alone", () => {
    const client = openClient(":memory:", "normal");
    onTestFinished(() => void client.close());
    migrateSqlite(client);
    const asks = [
      `select count(*) from messages m where m.conversation_id = 'a' and ${listed}`,
      `select count(*) from messages m where m.conversation_id = 'a' and m.seq > 1 and ${listed} and m.sender_id <> 'b'`,
    ];
    for (const ask of asks) {
      const plan = client.prepare<[], { detail: string }>(`explain query plan ${ask}`).all();
      expect(plan.map(({ detail }) => detail).join()).toContain("messages_listed");
    }
  });

  it("are told by their size, nowhere by their text, which would have to be read", () => {
    const files = readdirSync("src", { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
    const byText = files.filter((name) => /content\}? <> ''|ne\(m\.content/.test(readFileSync(`src/${name}`, "utf8")));
    expect(byText).toEqual(["db/migrate.ts"]); // of databases that had no size yet
  });
});

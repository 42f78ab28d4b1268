// Fails when the tables have changed without a migration, or a migration without `npm run db:generate`.
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { embeddedMigrations } from "./embed.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
const root = join(here, "..");

/** Names what is out of step; an empty list is good. */
export function migrationsOutOfStep(): string[] {
  const wrong = ["sqlite", "postgres"].filter(wouldGenerate).map((dialect) => `drizzle/${dialect} lacks a migration`);
  if (readFileSync(join(here, "migrations.ts"), "utf8") !== embeddedMigrations()) {
    wrong.push("drizzle/migrations.ts is not what the folders say");
  }
  return wrong;
}

/** Lets drizzle-kit generate into a copy, and looks whether it found anything to write. */
function wouldGenerate(dialect: string): boolean {
  const copy = mkdtempSync(join(tmpdir(), "parley-drizzle-"));
  try {
    cpSync(join(here, dialect), copy, { recursive: true });
    execFileSync(
      process.execPath,
      [join(root, "node_modules/drizzle-kit/bin.cjs"), "generate", "--config", join(root, "drizzle.config.ts")],
      { cwd: root, stdio: "pipe", env: { ...process.env, PARLEY_DIALECT: dialect, PARLEY_DRIZZLE_OUT: copy } },
    );
    return readdirSync(copy).length !== readdirSync(join(here, dialect)).length;
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const wrong = migrationsOutOfStep();
  for (const line of wrong) console.error(line);
  if (wrong.length > 0) process.exitCode = 1;
}

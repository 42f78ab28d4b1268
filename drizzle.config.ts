import { defineConfig } from "drizzle-kit";

// One file for both: PARLEY_DIALECT names the dialect's folder and file, PARLEY_DRIZZLE_OUT another place to write to.
const dialect = process.env["PARLEY_DIALECT"] === "postgres" ? "postgres" : "sqlite";

export default defineConfig({
  dialect: dialect === "postgres" ? "postgresql" : "sqlite",
  schema: `./src/db/${dialect}.ts`,
  out: process.env["PARLEY_DRIZZLE_OUT"] ?? `./drizzle/${dialect}`,
  casing: "snake_case",
});

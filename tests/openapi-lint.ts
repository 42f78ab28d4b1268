// Lints the OpenAPI document that the service serves; part of `npm run check`.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startApp } from "./support/app.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "parley-openapi-"));
const stream = { STREAM_API_KEY: "key", STREAM_SECRET: "secret", STREAM_BASE_URL: "http://127.0.0.1:9" }; // what shows only with it
const app = await startApp({ DATABASE_URL: ":memory:", ...stream });
try {
  const file = join(folder, "openapi.json");
  writeFileSync(file, (await app.call("GET", "/openapi.json")).text);
  const redocly = join(root, "node_modules/@redocly/cli/bin/cli.js");
  const env = { ...process.env, REDOCLY_TELEMETRY: "off", REDOCLY_SUPPRESS_UPDATE_NOTICE: "true" };
  execFileSync(process.execPath, [redocly, "lint", file, "--format", "stylish"], { cwd: root, env, stdio: "inherit" });
} catch {
  process.exitCode = 1; // redocly has said why
} finally {
  await app.stop();
  rmSync(folder, { recursive: true, force: true });
}

import { execFileSync } from "node:child_process";
import { statSync } from "node:fs";
import { fileURLToPath } from "node:url";

// Run before whatever runs Bun: no package's install script runs at `npm ci`, and Bun's own puts its program in place.

const home = fileURLToPath(new URL("../node_modules/bun", import.meta.url));
/** What lies there before is a line of shell that says what to do. */
const PLACEHOLDER_BYTES = 65_536;

if (statSync(`${home}/bin/bun.exe`).size < PLACEHOLDER_BYTES) {
  execFileSync(process.execPath, ["install.js"], { cwd: home, stdio: "inherit" });
}

import process from "node:process";

/** The binary's entry. */

const REQUESTS = "BUN_CONFIG_MAX_HTTP_REQUESTS";
const args = process.argv.slice(2);

// Bun's fetch holds 256 requests at once unless its environment said otherwise at its start: it starts anew, as the same process.
if ((args[0] ?? "serve") === "serve" && process.env[REQUESTS] === undefined && process.execve) {
  process.execve(process.execPath, [process.execPath, ...args], { ...process.env, [REQUESTS]: "65336" });
}
await import("./main.ts");

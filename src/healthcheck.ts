import { Agent, request } from "node:http";
import { configure } from "./configure.ts";
import { reachable, urlOf } from "./listen.ts";
import { reasonOf } from "./secrets.ts";

const PATIENCE_MS = 3_000;

/** Asks the service of the same configuration for `/health/ready`: whoever waits for a healthy one wants to send it requests. */
export async function run(): Promise<void> {
  const configured = configure();
  if (!configured) return;
  const { config, fail } = configured;
  if (config.PORT === 0) return fail(["PORT: with 0 nobody can know where it listens"]);
  try {
    const status = await statusAt(`${urlOf({ HOST: reachable(config.HOST), PORT: config.PORT })}/health/ready`);
    if (status !== 200) fail([`not ready: HTTP ${status}`]);
  } catch (error) {
    fail([`not ready: ${reasonOf(error)}`]);
  }
}

/** Not by `fetch`, nor the common agent: those would take the way over a proxy that the environment names. */
function statusAt(url: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const options = { agent: new Agent(), signal: AbortSignal.timeout(PATIENCE_MS) };
    const asked = request(url, options, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    asked.on("error", reject).end();
  });
}

import { Agent, get } from "node:http";
import { expect, it } from "vitest";
import { databases } from "../support/databases.ts";
import { startService } from "../support/service.ts";

// Bun says nothing of it in its answers; there the option is all that can be looked at without waiting for it.
it.each([
  { env: {}, seconds: 75 },
  { env: { KEEP_ALIVE_TIMEOUT_S: "620" }, seconds: 620 },
])("on node connections are promised for $seconds s, longer than balancers keep theirs", async ({ env, seconds }) => {
  const service = await startService("node", { DATABASE_URL: await databases[0].fresh(), ...env });
  const agent = new Agent({ keepAlive: true });
  const promised = await new Promise((resolve, reject) => {
    get(`${service.url}/health/live`, { agent }, (response) => {
      response.resume();
      resolve(response.headers["keep-alive"]);
    }).on("error", reject);
  });
  agent.destroy();
  await service.end("SIGKILL");
  expect(promised).toBe(`timeout=${seconds}`);
});

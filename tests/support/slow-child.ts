import { parseConfig } from "../../src/config.ts";
import { openLog } from "../../src/http/log.ts";
import { listen, type Patience } from "../../src/listen.ts";
import { startParley } from "../../src/start.ts";

// The service on the runtime that runs this, with less patience than `main.ts` gives it. It is killed in the end.
const { env, patience }: { env: Record<string, string>; patience: Patience } = JSON.parse(process.argv[2] ?? "");
const configured = parseConfig({ PORT: "0", HOST: "127.0.0.1", ...env });
if ("problems" in configured) throw new Error(configured.problems.join("\n"));
const { log } = openLog("info", "json");
const parley = await startParley(configured.config, log);
const { port } = await listen(parley.app.fetch, configured.config, patience);
parley.ready();
log.info({ url: `http://127.0.0.1:${port}` });

import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { freePort } from "../tests/support/global.ts";
import { options } from "./options.ts";
import { inRounds, over, printHead, printRow } from "./rounds.ts";
import { bun, here, type Scenario, type Stage } from "./stage.ts";

// From the start of the process to its first 200, over a database that it has started on before; beside bare servers.

type Subject = { name: string; command: readonly string[]; env: Record<string, string> };

export const startScenario: Scenario = {
  name: "start",
  async run(stage) {
    const subjects = await subjectsOf(stage);
    for (const subject of subjects) await measure(stage, subject); // makes its database, and fills the machine's cache
    const rounds = await inRounds(options.rounds, subjects, (subject) => measure(stage, subject));
    printHead(["cold start", "ms to the first 200"]);
    for (const subject of subjects) printRow([subject.name, over(rounds, (round) => round.get(subject), 0)]);
  },
};

async function subjectsOf(stage: Stage): Promise<Subject[]> {
  const all: Subject[] = Object.entries({ Node: process.execPath, Bun: bun }).map(([name, program]) => ({
    name: `a bare server on ${name}`,
    command: [program, here("bare.ts")],
    env: {},
  }));
  for (const database of stage.databases) {
    for (const [runtime, command] of Object.entries(stage.runtimes)) {
      const env = { DATABASE_URL: await stage.fresh(database, runtime.toLowerCase()) };
      all.push({ name: `${database}, ${runtime}`, command, env });
    }
  }
  return all;
}

async function measure({ folder }: Stage, { command: [program = "", ...args], env }: Subject): Promise<number> {
  const port = await freePort();
  const began = performance.now();
  const child = spawn(program, args, {
    cwd: folder,
    env: { PATH: process.env["PATH"], PORT: String(port), DRAIN_NOTICE_MS: "0", ...env },
    stdio: "ignore",
  });
  while (!(await isHealthy(port))) if (child.exitCode !== null) throw new Error(`${program} ended`);
  const took = performance.now() - began;
  child.kill();
  await once(child, "exit");
  return took;
}

/** Whether it answers; where nobody listens yet that is known at once. */
function isHealthy(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"));
    const settle = (isThere: boolean) => {
      socket.destroy();
      if (isThere) resolve(true);
      else setTimeout(resolve, 1, false);
    };
    socket.once("data", (bytes) => settle(bytes.toString("latin1").startsWith("HTTP/1.1 200 ")));
    socket.once("error", () => settle(false));
  });
}

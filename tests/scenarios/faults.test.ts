import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { databases } from "../support/databases.ts";
import { ANSWERS, SECRETS, STATUS } from "../support/fault.ts";
import { perform, type Ran } from "../support/fault-run.ts";
import { createTable } from "../support/fault-table.ts";
import { type Run, runs, startWorld, type World } from "../support/fault-world.ts";
import { runtimes } from "../support/models-dispatch.ts";
import { until } from "../support/story-until.ts";

const table = createTable();
afterAll(() => console.log(table.print()));

describe.each(runtimes)("on %s", (runtime) => {
  let world: World;
  const results = new Map<string, Ran>();
  beforeAll(async () => {
    world = await startWorld(runtime, databases[0].fresh);
    const all = async (some: readonly Run[]) => {
      await Promise.all(some.map(async (run) => results.set(run.name, await perform(world, run))));
    };
    await all(runs.filter(({ fault }) => !fault.alone));
    await all(runs.filter(({ fault }) => fault.alone));
  });
  afterAll(() => world?.end());

  it.each(runs)("$fault.what, $mode", async (run) => {
    const { fault, mode, name } = run;
    const ran = results.get(name);
    if (!ran) throw new Error("it was not run");
    table.begin(runtime, run, ran);

    expect(endOf(ran)).toEqual(expectedEnd(run));
    expect(ran.turn.attempts.map(({ target, outcome }) => `${target.replace(`/${name}`, "")} ${outcome}`)).toEqual(
      fault.attempts,
    );
    expect(ran.asked, "who was asked, and how often").toEqual(expectedAsks(run));
    if (fault.recovers)
      expect(ran.before, "answered while the first one is left alone").toEqual(Array(2).fill(`groq/${name}`));
    if (mode === "streamed") {
      expect(ran).toMatchObject({ flaws: [], restarts: fault.restarts ?? 0, statuses: fault.statuses ?? [] });
      expect(ran.text, "what was streamed is what is kept").toBe(ran.stored);
    }
    expect(ran.retryAfter).toBeGreaterThanOrEqual(fault.retryAfter ?? 0);
    for (const secret of SECRETS) expect(ran.said).not.toContain(secret);
    await until("no connection to a provider", () => world.busy(name) === 0);
    table.held(runtime, run);
  });

  it("leaves no connection and no job behind", async () => {
    const { openai, groq, runpod } = world;
    await until("idle providers", () => openai.busy() + groq.busy() + runpod.open() === 0);
    const left = runs.filter(({ fault }) => fault.attempts.some((one) => /^runpod (cancelled|timeout)/.test(one)));
    expect(runpod.cancelled).toHaveLength(left.length);
  });

  it("logs every request, no error, and nothing that is nobody's to see", () => {
    const logged = world.services.flatMap((service) => service.logged);
    expect(logged.filter((line) => line.includes('"route":"/chat"')).length).toBeGreaterThanOrEqual(runs.length);
    expect(logged.filter((line) => /"level":"(error|fatal)"/.test(line))).toEqual([]);
    expect(logged.filter((line) => SECRETS.some((secret) => line.includes(secret)))).toEqual([]);
  });
});

/** How it ended, for its client and in the ledger. */
const endOf = ({ status, code, text, stored, turn }: Ran) => ({
  ...{ status, code, text, stored },
  turn: turn.status,
  error: turn.error?.code ?? null,
  target: turn.target,
});

function expectedEnd({ fault: { ends }, mode, name }: Run): Record<keyof ReturnType<typeof endOf>, unknown> {
  const isPlain = mode === "plain";
  if (typeof ends === "string") {
    const whole = ANSWERS[ends].join("");
    const status = isPlain ? 200 : "turn.completed";
    return {
      ...{ status, code: null, text: whole, stored: whole },
      ...{ turn: "completed", error: null, target: `${ends}/${name}` },
    };
  }
  const { code, kept } = ends;
  const stored = kept ? expect.stringMatching(kept) : "";
  const event = code === "turn_cancelled" ? "turn.cancelled" : "turn.failed";
  return {
    ...{ status: isPlain ? STATUS[code] : event, code, text: isPlain ? null : stored, stored },
    ...{ turn: kept ? "incomplete" : "failed", error: code, target: expect.stringContaining(`/${name}`) },
  };
}

function expectedAsks({ fault: { attempts, asked } }: Run): Record<string, unknown> {
  const of = (part: string) => attempts.filter((attempt) => attempt.startsWith(part)).length;
  return { openai: of("openai"), groq: of("groq"), runpod: of("runpod"), ...asked };
}

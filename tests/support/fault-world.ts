import { ANSWERS, chainOf, type Fault, KEYS, type Part, slugOf, TIMERS } from "./fault.ts";
import { faults } from "./fault-cases.ts";
import { type Provider, type Script, startProvider } from "./provider.ts";
import { ENDPOINT, type FakeRunpod, startRunpod } from "./runpod.ts";
import { type Runtime, type Service, startService } from "./service.ts";

export const modes = ["streamed", "plain"] as const;
export type Mode = (typeof modes)[number];

/** One run of a case: its model's name, its alias and its question are the same word, which is nobody else's. */
export type Run = { fault: Fault; mode: Mode; name: string };

export const runs: readonly Run[] = faults.flatMap((fault) =>
  modes.map((mode) => ({ fault, mode, name: `${slugOf(fault)}.${mode}` })),
);

/** The service on one runtime, before a fake of each provider. */
export type World = {
  service: Service;
  openai: Provider;
  groq: Provider;
  runpod: FakeRunpod;
  /** Requests for an answer that each got of this run. */
  asked(name: string): Record<Part, number>;
  /** Requests of this run that are being answered. */
  busy(name: string): number;
  end(): Promise<void>;
};

export async function startWorld(runtime: Runtime, databaseUrl: string): Promise<World> {
  const [openai, groq, runpod] = await Promise.all([startProvider(), startProvider(), startRunpod()]);
  const byName = new Map(runs.map(({ name, fault }) => [name, fault]));
  const count = ({ asked }: Provider, name: string) => asked.filter(({ body }) => body.model === name).length;
  const play = (part: "openai" | "groq") => (name: string, nth: number) => {
    const script = byName.get(name)?.[part] ?? {};
    return { text: ANSWERS[part], ...(typeof script === "function" ? script(nth) : script) } as Script;
  };
  openai.behave(({ body: { model } }) => play("openai")(model, count(openai, model)));
  groq.behave(({ body: { model } }) => play("groq")(model, count(groq, model)));
  const questionOf = ({ input }: FakeRunpod["jobs"][number]) => input.messages?.at(-1)?.content ?? "";
  runpod.behave((job) => byName.get(questionOf(job))?.runpod ?? { life: [{ status: "COMPLETED" }] });
  const jobs = (name: string) => runpod.jobs.filter((job) => questionOf(job) === name);

  const service = await startService(runtime, {
    DATABASE_URL: databaseUrl,
    OPENAI_BASE_URL: openai.openaiUrl,
    OPENAI_API_KEY: KEYS.openai,
    GROQ_BASE_URL: groq.groqUrl,
    GROQ_API_KEY: KEYS.groq,
    RUNPOD_BASE_URL: runpod.url,
    RUNPOD_API_KEY: KEYS.runpod,
    RUNPOD_ENDPOINT_ID: ENDPOINT,
    MODELS: runs.map(({ name, fault }) => `${name}=${chainOf(fault).map((part) => `${part}/${name}`)}`).join(";"),
    FIRST_TOKEN_TIMEOUT_MS: String(TIMERS.first),
    LAST_FIRST_TOKEN_TIMEOUT_MS: String(TIMERS.last),
    IDLE_TIMEOUT_MS: String(TIMERS.idle),
    TURN_TIMEOUT_MS: String(TIMERS.turn),
    LOG_LEVEL: "debug",
  });
  return {
    ...{ service, openai, groq, runpod },
    asked: (name) => ({ openai: count(openai, name), groq: count(groq, name), runpod: jobs(name).length }),
    busy: (name) =>
      openai.busyWith(name) + groq.busyWith(name) + jobs(name).reduce((sum, { id }) => sum + runpod.openFor(id), 0),
    async end() {
      await service.end("SIGKILL");
      await Promise.all([openai.close(), groq.close(), runpod.close()]);
    },
  };
}

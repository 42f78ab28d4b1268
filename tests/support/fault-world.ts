import { ANSWERS, chainOf, type Fault, KEYS, PATIENT, type Part, SHORT, slugOf } from "./fault.ts";
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

/** The service on one runtime, once for each choice of timers, before a fake of each provider. */
export type World = {
  services: Service[];
  serviceOf(run: Run): Service;
  openai: Provider;
  groq: Provider;
  runpod: FakeRunpod;
  /** Requests for an answer that each got of this run. */
  asked(name: string): Record<Part, number>;
  /** From now on its providers are healthy. */
  recover(name: string): void;
  /** Requests of this run that are being answered. */
  busy(name: string): number;
  end(): Promise<void>;
};

export async function startWorld(runtime: Runtime, fresh: () => Promise<string>): Promise<World> {
  const [openai, groq, runpod] = await Promise.all([startProvider(), startProvider(), startRunpod()]);
  const byName = new Map(runs.map(({ name, fault }) => [name, fault]));
  const recovered = new Set<string>();
  const count = ({ asked }: Provider, name: string) => asked.filter(({ body }) => body.model === name).length;
  const play = (part: "openai" | "groq") => (name: string, nth: number) => {
    const script = (recovered.has(name) ? undefined : byName.get(name)?.[part]) ?? {};
    return { text: ANSWERS[part], ...(typeof script === "function" ? script(nth) : script) } as Script;
  };
  openai.behave(({ body: { model } }) => play("openai")(model, count(openai, model)));
  groq.behave(({ body: { model } }) => play("groq")(model, count(groq, model)));
  const questionOf = ({ input }: FakeRunpod["jobs"][number]) => input.messages?.at(-1)?.content ?? "";
  runpod.behave((job) => byName.get(questionOf(job))?.runpod ?? { life: [{ status: "COMPLETED" }] });
  const jobs = (name: string) => runpod.jobs.filter((job) => questionOf(job) === name);

  const env = {
    OPENAI_BASE_URL: openai.openaiUrl,
    OPENAI_API_KEY: KEYS.openai,
    GROQ_BASE_URL: groq.groqUrl,
    GROQ_API_KEY: KEYS.groq,
    RUNPOD_BASE_URL: runpod.url,
    RUNPOD_API_KEY: KEYS.runpod,
    RUNPOD_ENDPOINT_ID: ENDPOINT,
    MODELS: runs.map(({ name, fault }) => `${name}=${chainOf(fault).map((part) => `${part}/${name}`)}`).join(";"),
    LOG_LEVEL: "debug",
  };
  const start = async (timers: Fault["timers"]): Promise<[Fault["timers"], Service]> => {
    const DATABASE_URL = await fresh();
    return [timers, await startService(runtime, { ...env, DATABASE_URL, ...timersOf(timers) })];
  };
  const choices = new Set(runs.map(({ fault }) => fault.timers));
  const byTimers = new Map(await Promise.all([...choices].map(start)));
  const services = [...byTimers.values()];
  return {
    ...{ services, openai, groq, runpod },
    serviceOf({ fault, name }) {
      const service = byTimers.get(fault.timers);
      if (!service) throw new Error(`no service runs for ${name}`);
      return service;
    },
    recover: (name) => void recovered.add(name),
    asked: (name) => ({ openai: count(openai, name), groq: count(groq, name), runpod: jobs(name).length }),
    busy: (name) =>
      openai.busyWith(name) + groq.busyWith(name) + jobs(name).reduce((sum, { id }) => sum + runpod.openFor(id), 0),
    async end() {
      await Promise.all(services.map((service) => service.end("SIGKILL")));
      await Promise.all([openai.close(), groq.close(), runpod.close()]);
    },
  };
}

function timersOf(name: Fault["timers"]): Record<string, string> {
  const { first, last, idle, turn } = { ...PATIENT, ...(name && SHORT[name]) };
  return {
    FIRST_TOKEN_TIMEOUT_MS: String(first),
    LAST_FIRST_TOKEN_TIMEOUT_MS: String(last),
    IDLE_TIMEOUT_MS: String(idle),
    TURN_TIMEOUT_MS: String(turn),
  };
}

import { invalid } from "../core/errors.ts";
import type { Plan, PlanOptions } from "../core/model.ts";
import { type Breaker, type BreakerState, createBreaker } from "./breaker.ts";
import { type Capabilities, capabilitiesOf } from "./capabilities.ts";
import { echo } from "./echo.ts";
import { GROQ_BASE_URL, groq } from "./groq.ts";
import type { ListedModel } from "./model-list.ts";
import { OPENAI_BASE_URL, openai } from "./openai.ts";
import { createPrices, type Price, type PriceOf } from "./prices.ts";
import type { Provider } from "./provider.ts";
import { type RunpodOptions, runpod } from "./runpod.ts";
import type { Transport } from "./transport.ts";
import { createWindows, type Windows } from "./windows.ts";

/** One model at one provider. */
export type Target = {
  name: string;
  provider: Provider;
  model: string;
  capabilities: Capabilities;
  /** undefined where nobody knows. */
  priceOf: PriceOf | undefined;
};

export type ModelsConfig = {
  openai: { apiKey: string | undefined; baseURL: string } | null;
  groq: { apiKey: string; baseURL: string } | null;
  runpod?: Omit<RunpodOptions, "transport"> | null;
  /** Targets in order of trial, by alias. */
  aliases: ReadonlyMap<string, readonly string[]>;
  /** By target, in place of what is known of its price. */
  prices?: ReadonlyMap<string, Price>;
  /** By target, in tokens, in place of what is known of its window. */
  windows?: ReadonlyMap<string, number>;
};

export type Registry = {
  /** Throws a 422 that names the usable models. */
  plan(model: string | undefined, options?: PlanOptions): Plan;
  /** Throws where it is not usable, or stands for a server's first model and the server cannot tell it. */
  target(name: string, signal: AbortSignal): Promise<Target>;
  /** How much each target takes in. */
  readonly windows: Windows;
  /** Tokens, as far as they are known before the target is asked. */
  windowOf(name: string): number;
  /** Whether a target may take more than `tokens`. */
  mayHold(name: string, tokens: number): boolean;
  /** Asks a server of one's own how large its models' windows are, now and then, and waits for nothing. */
  askWindows(): void;
  /** What is remembered of this target's model is no longer true. */
  forget(name: string): void;
  readonly breaker: Breaker;
  list(): {
    default: string;
    aliases: { alias: string; usable: boolean; targets: ListedTarget[] }[];
    providers: string[];
  };
};

type ListedTarget = { target: string; usable: boolean; breaker: BreakerState };

const DEFAULT_ALIAS = "balanced";
const STANDARD = ["fast", "balanced", "smart"] as const;

/** Stands for the first model that an OpenAI-compatible server lists. */
const FIRST_LISTED = "openai/*";

/** A server whose windows are not known is asked for them this often, and waited for so long, in milliseconds. */
const LIST_AGAIN_MS = 30_000;
const LIST_MS = 10_000;

/** The models that the configuration makes usable. */
export function createRegistry(config: ModelsConfig, transport: Transport): Registry {
  const providers = new Map<string, Provider>([["echo", echo]]);
  if (config.groq) providers.set("groq", groq({ ...config.groq, transport }));
  const compatible = config.openai && openai({ ...config.openai, transport });
  if (compatible) providers.set("openai", compatible.provider);
  if (config.runpod) providers.set("runpod", runpod({ ...config.runpod, transport }).provider);
  const aliases = new Map([...defaultAliases(config), ...config.aliases]);

  const configured = new Set([...aliases.values()].flat());
  const priceOf = createPrices(config.prices ?? new Map(), { vendors: vendorsOf(config), configured });
  const breaker = createBreaker(() => performance.now(), configured);

  let firstListed: string | undefined;
  async function askFirstListed(signal: AbortSignal): Promise<string> {
    const [first] = await listOwn(signal);
    if (!first) throw noModel("the server lists no model");
    firstListed = `openai/${first.id}`;
    return firstListed;
  }

  const nameOf = (asked: string) => (asked === FIRST_LISTED ? (firstListed ?? asked) : asked);
  const windows = createWindows(config.windows ?? new Map(), configured);
  const windowOf = (target: string) => windows.windowOf(nameOf(target));

  const isOwnServer = config.openai !== null && config.openai.baseURL !== OPENAI_BASE_URL;
  let listedAt = Number.NEGATIVE_INFINITY;

  /** The models of a server of one's own, whose windows are kept as well; those that it lists without are asked for. */
  async function listOwn(signal: AbortSignal): Promise<readonly ListedModel[]> {
    if (!compatible || !isOwnServer) return [];
    listedAt = performance.now();
    const listed = await compatible.models(signal);
    const silent = listed.filter(({ id, window }) => !keepWindow(id, window));
    if (silent.length > 0) void askBeside(compatible, silent);
    return listed;
  }

  async function askBeside({ windows: ask }: NonNullable<typeof compatible>, models: readonly ListedModel[]) {
    const windowOfModel = await ask();
    for (const { id } of models) keepWindow(id, windowOfModel(id));
  }

  function keepWindow(id: string, window: number | null | undefined): boolean {
    if (window) windows.tell(`openai/${id}`, window);
    return Boolean(window);
  }

  /** For the turns to come: this one goes on with what is known. */
  function askWindows(): void {
    if (performance.now() - listedAt < LIST_AGAIN_MS) return;
    void listOwn(AbortSignal.timeout(LIST_MS)).catch(() => undefined); // a call will show why
  }

  const isUsable = (target: string) => providers.has(providerOf(target));

  function usableTargets(name: string): readonly string[] {
    const targets = aliases.get(name);
    if (targets) return targets.filter(isUsable);
    return name.indexOf("/") > 0 && !name.endsWith("/") && isUsable(name) ? [name] : [];
  }

  return {
    breaker,
    windows,
    windowOf,
    mayHold: (target, tokens) => !windows.isKnown(nameOf(target)) || windowOf(target) > tokens,
    askWindows,
    plan(model = DEFAULT_ALIAS, options = {}) {
      const targets = usableTargets(model);
      if (targets.length === 0) throw unknownModel(aliases, providers, usableTargets);
      return { model, targets, window: Math.max(...targets.map(windowOf)), options };
    },
    async target(asked, signal) {
      const known = nameOf(asked);
      const name = known === FIRST_LISTED ? await askFirstListed(signal) : known;
      const provider = providers.get(providerOf(name));
      if (!provider) throw noModel(`nothing is configured for ${name}`);
      const model = name.slice(name.indexOf("/") + 1);
      if (!windows.isKnown(name)) askWindows();
      const capabilities = { ...capabilitiesOf(name), window: windowOf(name) };
      return { name, provider, model, capabilities, priceOf: await priceOf(name) };
    },
    forget(name) {
      if (name === FIRST_LISTED) firstListed = undefined;
    },
    list: () => ({
      default: DEFAULT_ALIAS,
      aliases: [...aliases].map(([alias, names]) => {
        const targets = names.map((target) => ({
          target,
          usable: isUsable(target),
          breaker: breaker.state(target),
        }));
        return { alias, usable: targets.some((target) => target.usable), targets };
      }),
      providers: [...providers.keys()],
    }),
  };
}

const providerOf = (target: string) => target.slice(0, target.indexOf("/"));

const noModel = (message: string) => Object.assign(new Error(message), { code: "model_not_found" });

/** The providers whose models are at their vendors' own addresses, for which there are price lists. */
function vendorsOf({ openai, groq }: ModelsConfig): ReadonlySet<string> {
  const vendors = new Set<string>();
  if (openai?.baseURL === OPENAI_BASE_URL) vendors.add("openai");
  if (groq?.baseURL === GROQ_BASE_URL) vendors.add("groq");
  return vendors;
}

function unknownModel(
  aliases: ReadonlyMap<string, unknown>,
  providers: ReadonlyMap<string, unknown>,
  usable: (name: string) => readonly string[],
) {
  const names = [...aliases.keys()].filter((alias) => usable(alias).length > 0);
  const prefixes = [...providers.keys()].map((provider) => `${provider}/…`);
  return invalid("model", `must be one of ${[...names, ...prefixes].join(", ")}`);
}

/** What the aliases mean where MODELS does not say: the vendors whose keys are at hand, else the offline model. */
function defaultAliases({ openai, groq, runpod }: ModelsConfig): [string, string[]][] {
  const own = openai !== null && openai.baseURL !== OPENAI_BASE_URL;
  const targets = {
    fast: [groq && "groq/openai/gpt-oss-20b", openai && (own ? FIRST_LISTED : "openai/gpt-6-luna")],
    balanced: [openai && (own ? FIRST_LISTED : "openai/gpt-6-luna"), groq && "groq/openai/gpt-oss-120b"],
    smart: [openai && (own ? FIRST_LISTED : "openai/gpt-6-sol"), groq && "groq/openai/gpt-oss-120b"],
  };
  return STANDARD.map((alias) => {
    const usable = targets[alias].filter((target) => target !== null);
    if (runpod) usable.push(`runpod/${runpod.endpointId}`); // last: a cold start takes a minute or more
    return [alias, usable.length > 0 ? usable : ["echo/echo"]];
  });
}

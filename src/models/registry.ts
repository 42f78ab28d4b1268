import { invalid } from "../core/errors.ts";
import type { Plan } from "../core/model.ts";
import { echo } from "./echo.ts";
import { groq } from "./groq.ts";
import { OPENAI_BASE_URL, openai } from "./openai.ts";
import type { Provider } from "./provider.ts";
import type { Transport } from "./transport.ts";

/** One model at one provider; `window` is the tokens it can take in. */
export type Target = { name: string; provider: Provider; model: string; window: number };

export type ModelsConfig = {
  openai: { apiKey: string | undefined; baseURL: string } | null;
  groq: { apiKey: string; baseURL: string } | null;
  /** Targets in order of trial, by alias. */
  aliases: ReadonlyMap<string, readonly string[]>;
};

export type Registry = {
  /** Throws a 422 that names the usable models. */
  plan(model: string | undefined): Plan;
  /** undefined where it stands for a server's first model and the server cannot be asked. */
  target(name: string, signal?: AbortSignal): Promise<Target | undefined>;
  list(): {
    default: string;
    aliases: { alias: string; usable: boolean; targets: { target: string; usable: boolean }[] }[];
    providers: string[];
  };
};

const DEFAULT_ALIAS = "balanced";
const STANDARD = ["fast", "balanced", "smart"] as const;

/** Stands for the first model that an OpenAI-compatible server lists. */
const FIRST_LISTED = "openai/*";
const LIST_MS = 5_000;

// Windows in tokens, from the vendors' model pages; what is unknown at a server of one's own gets what any model has.
const WINDOWS: readonly [RegExp, number][] = [
  [/^echo\//, 8_192],
  [/gpt-oss-/, 131_072],
  [/^openai\/gpt-/, 128_000],
  [/^groq\//, 131_072],
];
const SMALLEST_WINDOW = 8_192;

/** The models that the configuration makes usable. */
export function createRegistry(config: ModelsConfig, transport: Transport): Registry {
  const providers = new Map<string, Provider>([["echo", echo]]);
  if (config.groq) providers.set("groq", groq({ ...config.groq, transport }));
  const compatible = config.openai && openai({ ...config.openai, transport });
  if (compatible) providers.set("openai", compatible.provider);
  const aliases = new Map([...defaultAliases(config), ...config.aliases]);

  let firstListed: string | undefined;
  async function askFirstListed(signal?: AbortSignal): Promise<string | undefined> {
    const bounded = AbortSignal.any([AbortSignal.timeout(LIST_MS), ...(signal ? [signal] : [])]);
    const [first] = (await compatible?.listModels(bounded).catch(() => [])) ?? [];
    firstListed = first && `openai/${first}`;
    return firstListed;
  }

  const isUsable = (target: string) => providers.has(providerOf(target));

  function usableTargets(name: string): readonly string[] {
    const targets = aliases.get(name);
    if (targets) return targets.filter(isUsable);
    return name.indexOf("/") > 0 && !name.endsWith("/") && isUsable(name) ? [name] : [];
  }

  return {
    plan(model = DEFAULT_ALIAS) {
      const targets = usableTargets(model);
      if (targets.length === 0) throw unknownModel(aliases, providers, usableTargets);
      return { model, targets, window: Math.max(...targets.map(windowOf)) };
    },
    async target(asked, signal) {
      const name = asked === FIRST_LISTED ? (firstListed ?? (await askFirstListed(signal))) : asked;
      const provider = name && providers.get(providerOf(name));
      if (!name || !provider) return undefined;
      return { name, provider, model: name.slice(name.indexOf("/") + 1), window: windowOf(name) };
    },
    list: () => ({
      default: DEFAULT_ALIAS,
      aliases: [...aliases].map(([alias, names]) => {
        const targets = names.map((target) => ({ target, usable: isUsable(target) }));
        return { alias, usable: targets.some((target) => target.usable), targets };
      }),
      providers: [...providers.keys()],
    }),
  };
}

const providerOf = (target: string) => target.slice(0, target.indexOf("/"));

const windowOf = (target: string) => WINDOWS.find(([pattern]) => pattern.test(target))?.[1] ?? SMALLEST_WINDOW;

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
function defaultAliases({ openai, groq }: ModelsConfig): [string, string[]][] {
  const own = openai !== null && openai.baseURL !== OPENAI_BASE_URL;
  const targets = {
    fast: [groq && "groq/openai/gpt-oss-20b", openai && (own ? FIRST_LISTED : "openai/gpt-6-luna")],
    balanced: [openai && (own ? FIRST_LISTED : "openai/gpt-6-luna"), groq && "groq/openai/gpt-oss-120b"],
    smart: [openai && (own ? FIRST_LISTED : "openai/gpt-6-sol"), groq && "groq/openai/gpt-oss-120b"],
  };
  return STANDARD.map((alias) => {
    const usable = targets[alias].filter((target) => target !== null);
    return [alias, usable.length > 0 ? usable : ["echo/echo"]];
  });
}

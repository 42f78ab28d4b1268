import type { Attempt, Usage } from "../core/model.ts";

/** USD per million tokens. */
export type Price = { input: number; output: number };

/** What a usage costs in USD; null where that is unknown. */
export type PriceOf = (usage: Usage) => number | null;

export type Prices = ReturnType<typeof createPrices>;

const FREE: PriceOf = () => 0;
/** Of models that only requests name: whoever makes names up must not take the place of a target that is configured. */
const UNLISTED_MOST = 1_000;

/** `vendors`: the providers at their vendors' own addresses. `configured`: the targets whose prices are always remembered. */
type Known = { vendors: ReadonlySet<string>; configured: ReadonlySet<string> };

/**
 * The prices of targets: from the configuration, else from the kept table for models at their vendors' own addresses.
 * undefined where nobody knows: a model at another address may cost anything.
 */
export function createPrices(overrides: ReadonlyMap<string, Price>, { vendors, configured }: Known) {
  const remembered = new Map<string, PriceOf | undefined>([["echo/echo", FREE]]);
  for (const [target, price] of overrides) remembered.set(target, at(price));
  let unlisted = 0;

  return async function priceOf(target: string): Promise<PriceOf | undefined> {
    if (remembered.has(target)) return remembered.get(target);
    const [provider = "", model] = [target.slice(0, target.indexOf("/")), target.slice(target.indexOf("/") + 1)];
    const price = vendors.has(provider) ? await listed(provider, model) : undefined;
    if (configured.has(target) || unlisted++ < UNLISTED_MOST) remembered.set(target, price);
    return price;
  };
}

const at =
  ({ input, output }: Price): PriceOf =>
  ({ input_tokens, output_tokens }) =>
    (input_tokens * input + output_tokens * output) / 1_000_000;

// To find a model takes several times as long as to price its tokens, so only the first is done once. The table is loaded
// with the first model that is looked for: it takes memory, and many never need it.
async function listed(providerId: string, model: string): Promise<PriceOf | undefined> {
  const { calcPrice } = await import("@pydantic/genai-prices");
  const found = calcPrice({ input_tokens: 1, output_tokens: 1 }, model, { providerId });
  if (!found) return undefined;
  const provider = { ...found.provider, models: [found.model] };
  return ({ input_tokens, output_tokens }) =>
    calcPrice({ input_tokens, output_tokens }, model, { provider })?.total_price ?? null;
}

/** What a turn spent: all attempts that used tokens, together. Where one of their `costs` is unknown, so is the sum. */
export function spentOn(attempts: readonly Attempt[], costs: readonly (number | null)[]) {
  const usages = attempts.map(({ usage }) => usage).filter((usage) => usage !== null);
  if (usages.length === 0) return { usage: null, cost: null };
  const usage: Usage = {
    input_tokens: sum(usages.map((one) => one.input_tokens)),
    output_tokens: sum(usages.map((one) => one.output_tokens)),
    estimated: usages.some((one) => one.estimated),
  };
  const known = costs.filter((cost) => cost !== null);
  return { usage, cost: known.length === costs.length ? sum(known) : null };
}

const sum = (numbers: readonly number[]) => numbers.reduce((all, one) => all + one, 0);

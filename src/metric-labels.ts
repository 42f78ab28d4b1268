import type { ModelList } from "./services.ts";

/** What is not configured. */
export const OTHER = "other";

export type Labels = ReturnType<typeof nameLabels>;

/** The targets of all aliases; some may come twice. */
export const targetsOf = ({ aliases }: ModelList) =>
  aliases.flatMap(({ targets }) => targets.filter(({ usable }) => usable));

/**
 * What models and targets are called in labels, so that there are no more of them than are configured. A target that stands
 * for a server's first model is called what that turns out to be.
 */
export function nameLabels(models: ModelList) {
  const aliases = new Set(models.aliases.map(({ alias }) => alias));
  const names = new Map(targetsOf(models).map(({ target }) => [target, target]));
  const ofOthers = new Map(models.providers.map((provider) => [provider, `${provider}/${OTHER}`]));
  const otherOf = (target: string) => ofOthers.get(target.slice(0, target.indexOf("/"))) ?? OTHER;
  const isKnown = (target: string) => [...names.values()].includes(target);
  return {
    asked: (model: string): string => (aliases.has(model) || isKnown(model) ? model : OTHER),
    answered: (target: string | null): string =>
      target === null ? "none" : isKnown(target) ? target : otherOf(target),
    configured: (target: string): string => names.get(target) ?? otherOf(target),
    called(asked: string, target: string): string {
      if (names.has(asked)) names.set(asked, target);
      return isKnown(target) ? target : otherOf(target);
    },
  };
}

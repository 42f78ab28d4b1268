import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { databases } from "./databases.ts";
import { type HttpApp, startHttp } from "./http-app.ts";
import { type Asked, PATIENT_WITH_PROVIDERS, type Provider, type Script, startProvider } from "./provider.ts";

export type Parts = { app: HttpApp; provider: Provider };

/**
 * One app and one provider for all tests of a `describe`; the provider has its first `behaviour` again before each.
 * A last test holds every status that they saw to the OpenAPI document: call this at the top, `declares` at the bottom.
 */
export function useApp(
  env: Record<string, string> = {},
  fresh: () => Promise<string> = databases[0].fresh,
  behaviour: (asked: Asked) => Script = () => ({}),
): Parts {
  const parts = {} as Parts;
  beforeAll(async () => {
    parts.provider = await startProvider();
    parts.app = await startHttp({
      DATABASE_URL: await fresh(),
      OPENAI_BASE_URL: parts.provider.openaiUrl,
      DRAIN_TIMEOUT_S: "1",
      RATE_LIMIT: "off", // tests ask faster than people
      ...PATIENT_WITH_PROVIDERS,
      ...env,
    });
  });
  beforeEach(() => parts.provider.behave(behaviour));
  afterAll(async () => {
    await parts.app?.stop();
    await parts.provider?.close();
  });
  return parts;
}

/** The last test of a `describe`: what the tests above it were answered stands in the OpenAPI document. */
export function declares(parts: Parts): void {
  it("answers no status that the OpenAPI document does not declare", () => {
    expect(parts.app.observed().undeclared).toEqual([]);
  });
}

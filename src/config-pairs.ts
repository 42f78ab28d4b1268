/** Which variables belong together. */

type Given = Readonly<Record<string, unknown>>;

/** One of the two without the other would leave RunPod, the webhook or Stream out without a word. */
const HALVES = [
  ["RUNPOD_API_KEY", "RUNPOD_ENDPOINT_ID"],
  ["WEBHOOK_URL", "WEBHOOK_SECRET"],
  ["STREAM_API_KEY", "STREAM_SECRET"],
] as const;

export function halfGiven(given: Given): string[] {
  return HALVES.flatMap(([one, other]) => {
    if (given[one] !== undefined && given[other] === undefined) return [`${other}: is needed beside ${one}`];
    if (given[other] !== undefined && given[one] === undefined) return [`${one}: is needed beside ${other}`];
    return [];
  });
}

/** Who sets one of these means to close the service, or to narrow who may come in; alone it would do neither. */
export function idleChecks(given: Given): string[] {
  if (given["JWT_SECRET"] !== undefined || given["JWT_JWKS_URL"] !== undefined) return [];
  const idle = ["JWT_ISSUER", "JWT_AUDIENCE"].filter((name) => given[name] !== undefined);
  return idle.map((name) => `${name}: is looked for in tokens, so it needs JWT_SECRET or JWT_JWKS_URL beside it`);
}

import { sleep } from "../core/time.ts";
import { chunkReader } from "./answer-chunks.ts";
import { httpFailure } from "./failures.ts";
import { retryAfterMs } from "./policy.ts";
import type { ProviderEvent, ProviderRequest } from "./provider.ts";
import { decodeSse } from "./sse.ts";
import type { Answer, Transport } from "./transport.ts";

/** The body of a refusal may take this long, in milliseconds; then its status has to do. */
const BODY_MS = 2_000;

type With = Pick<ProviderRequest, "headers"> & { signal: AbortSignal };

/**
 * Streamed chat completions at one URL, straight over the transport: the vendors' clients would cost more than the rest
 * of a turn. Yields the text that arrives together as one delta, the last usage, and how it ended; throws the failure of
 * the call, with its HTTP status if it had one.
 */
export const complete = (transport: Transport, { url, apiKey }: { url: string; apiKey: string | undefined }) => {
  const own = {
    "content-type": "application/json",
    accept: "text/event-stream",
    "accept-encoding": "identity",
    ...bearer(apiKey),
  };
  return async function* (request: object, { headers: more, signal }: With): AsyncGenerator<ProviderEvent> {
    const headers = more ? { ...more, ...own } : own;
    const answer = await transport.send({ url, method: "POST", headers, body: JSON.stringify(request), signal });
    try {
      if (answer.status >= 300) throw await refusalOf(answer);
      yield { type: "head", status: answer.status };
      yield* readEvents(answer);
    } finally {
      answer.release();
    }
  };
};

/** The failure of a call that was answered with an error, whose body is not waited for for long. */
export async function refusalOf(answer: Answer): Promise<Error> {
  const enough = new AbortController();
  const late = sleep(BODY_MS, enough.signal).then(() => "");
  const body = await Promise.race([answer.text(), late]).finally(() => enough.abort());
  return httpFailure({ status: answer.status, body, retryAfterMs: retryAfterMs(answer.header, Date.now()) });
}

/** A server of one's own needs no key. */
export const bearer = (apiKey: string | undefined): Record<string, string> =>
  apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };

const ALIVE: ProviderEvent = { type: "alive" };
const WAITING: ProviderEvent = { type: "waiting" };

async function* readEvents(answer: Answer): AsyncGenerator<ProviderEvent> {
  const reader = chunkReader();
  for await (const events of decodeSse(answer.chunks)) {
    const text = reader.read(events);
    if (text !== "") yield { type: "delta", text };
    if (reader.isOver()) break;
    if (text === "") yield events.length > 0 ? ALIVE : WAITING;
  }
  const usage = reader.usage();
  if (usage) yield { type: "usage", usage };
  yield reader.ending();
}

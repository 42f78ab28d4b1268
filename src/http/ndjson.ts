import { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { sleep } from "../core/time.ts";
import type { HttpEnv } from "./env.ts";
import { idsOfRequest } from "./log.ts";
import { holdStream } from "./open-streams.ts";

/** `string`, since the router's types know no JSON but one value. */
const TYPE: string = "application/x-ndjson";

/** What a route that answers in lines says of them. */
export const lined = (example: object) => ({
  [TYPE]: { schema: z.string().openapi({ example: `${JSON.stringify(example)}\n` }) },
});

/** About how much is written at once, in UTF-16 units. */
const WRITE = 65_536;

type Deps = { log: { error(fields: object, message: string): void } };

/**
 * Answers with one JSON value a line. The next are asked for once the client has taken the last. One that fails in the
 * middle is cut off: the last line has to say that it is the last.
 */
export function ndjson(c: Context<HttpEnv>, lines: AsyncGenerator<object>, { log }: Deps): Response {
  const headers = { "Content-Type": TYPE, "Cache-Control": "no-store, no-transform" };
  if (c.req.method === "HEAD") return c.body(null, 200, headers);
  const left = holdStream(c);
  const encoder = new TextEncoder();
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { text, isLast } = await nextText(lines);
        if (text !== "") controller.enqueue(encoder.encode(text));
        if (!isLast) return void (await sleep(0)); // a database may answer at once, again and again: others come between
        left();
        controller.close();
      } catch (error) {
        log.error({ err: error, ...idsOfRequest(c) }, "an answer in lines broke off");
        left();
        controller.error(error);
      }
    },
    cancel() {
      left();
      return lines.return(undefined).then(() => {});
    },
  });
  return c.body(stream, 200, headers);
}

async function nextText(lines: AsyncGenerator<object>): Promise<{ text: string; isLast: boolean }> {
  let text = "";
  while (text.length < WRITE) {
    const next = await lines.next();
    if (next.done) return { text, isLast: true };
    text += `${JSON.stringify(next.value)}\n`;
  }
  return { text, isLast: false };
}

import { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { HttpEnv } from "./env.ts";
import { answerInParts } from "./parts.ts";

const TYPE = "application/x-ndjson";

/** What a route that answers in lines says of them. */
export const lined = (example: object) => ({
  [TYPE as string]: { schema: z.string().openapi({ example: `${JSON.stringify(example)}\n` }) },
});

/** About how much is written at once, in UTF-16 units. */
const WRITE = 65_536;

type Answering = { user: string; log: { error(fields: object, message: string): void } };

/** Answers with one JSON value a line, as they are read. One that fails in the middle is cut off: the last line has to say that it is the last. */
export async function ndjson(
  c: Context<HttpEnv>,
  lines: AsyncGenerator<object>,
  answering: Answering,
): Promise<Response> {
  return answerInParts(c, textsOf(lines), { ...answering, type: TYPE });
}

async function* textsOf(lines: AsyncGenerator<object>): AsyncGenerator<string> {
  let text = "";
  for await (const line of lines) {
    text += `${JSON.stringify(line)}\n`;
    if (text.length < WRITE) continue;
    yield text;
    text = "";
  }
  yield text;
}

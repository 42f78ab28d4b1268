import { z } from "@hono/zod-openapi";
import { invalid } from "../core/errors.ts";
import { refuseHistory } from "../core/extensions.ts";
import type { NewExtension } from "../core/posting.ts";
import { absentIfNull } from "./absent.ts";
import { anyObject } from "./schemas.ts";
import { MOST_JSON, MOST_LEVELS } from "./sessions.ts";

/** What may hang on a message. */

const attachment = absentIfNull(
  z.object({
    url: z.url({ protocol: /^https?$/, error: "must be an http:// or https:// URL" }).max(2048),
    name: z.string().min(1).max(255).optional(),
    mime_type: z
      .string()
      .regex(/^[\w.+-]+\/[\w.+-]+$/, "must look like image/png")
      .max(127)
      .optional(),
    size: z.int().min(0).optional(),
  }),
);
const reaction = z.object({ emoji: z.string().min(1).max(64) });
const KNOWN = { attachment, reaction };

const TYPE = /^[a-z][a-z0-9_.-]{0,63}$/;
const TYPE_RULE = "must be 1 to 64 of a-z, 0-9, _, . and -, and begin with a letter";

const text = (maxLength: number) => ({ type: "string" as const, minLength: 1, maxLength });
const orNull = (type: "string" | "integer") => ({ type: [type, "null" as const] });
const holding = (types: string[], data: object) => ({
  type: "object" as const,
  required: ["extension_type", "data"],
  properties: { extension_type: { type: "string" as const, enum: types }, data: { type: "object" as const, ...data } },
});

// It is checked field by field, so that a refusal names one; that is more than JSON Schema makes of a plain object.
const ANY_OF = [
  holding(["attachment"], {
    required: ["url"],
    properties: {
      url: { type: "string", format: "uri", pattern: "^https?://", maxLength: 2048 },
      name: { ...text(255), ...orNull("string") },
      mime_type: { ...text(127), ...orNull("string"), pattern: "^[\\w.+-]+/[\\w.+-]+$", example: "image/png" },
      size: { ...orNull("integer"), minimum: 0, description: "In bytes." },
    },
  }),
  holding(["reaction"], { required: ["emoji"], properties: { emoji: text(64) } }),
  {
    type: "object" as const,
    required: ["extension_type", "data"],
    properties: {
      extension_type: { type: "string" as const, pattern: TYPE.source, example: "note" },
      data: { type: "object" as const, additionalProperties: true },
    },
  },
];

export const NewExtensionBody = z
  .object({ extension_type: z.string().regex(TYPE, TYPE_RULE), data: anyObject(MOST_JSON, MOST_LEVELS) })
  .openapi("SessionsNewExtension", {
    description:
      "`attachment` has `url`, `name`, `mime_type` and `size`; `reaction` has `emoji`, one per author and emoji; any other type what it likes. `edit_history` is written by edits alone. `data` holds 16 KiB of JSON and 8 levels at most; all that hangs on one message 64 KiB of one author and 96 KiB of all.",
    anyOf: ANY_OF,
  });

type Body = z.infer<typeof NewExtensionBody>;

/** Throws 422 where an attachment or a reaction is not what it says, 403 for a history. */
export function toNewExtension({ extension_type: type, data }: Body): NewExtension {
  refuseHistory(type);
  const known = Object.entries(KNOWN).find(([name]) => name === type)?.[1];
  if (!known) return { type, data };
  const parsed = known.safeParse(data);
  const [issue] = parsed.error?.issues ?? [];
  if (issue || !parsed.data)
    throw invalid(["data", ...(issue?.path ?? [])].join("."), issue?.message ?? "is malformed");
  return { type, data: parsed.data };
}

/** Of several reactions with one emoji the first is kept. */
export function toNewExtensions(bodies: readonly Body[]): NewExtension[] {
  const all = bodies.map(toNewExtension);
  const isFirst = ({ type, data }: NewExtension, i: number) =>
    type !== "reaction" || all.findIndex((one) => one.type === type && one.data["emoji"] === data["emoji"]) === i;
  return all.filter(isFirst);
}

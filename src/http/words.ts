import { z } from "@hono/zod-openapi";

const KINDS: Record<string, string> = {
  string: "a string",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  tuple: "a list",
  object: "an object",
  record: "an object",
};

const UNITS: Record<string, (count: number | bigint) => string> = {
  string: (count) => `${count} ${count === 1 ? "character" : "characters"}`,
  array: (count) => `${count} ${count === 1 ? "entry" : "entries"}`,
};

/** From now on a schema without words of its own says what would be right as a person would. */
export function speakPlainly(): void {
  z.config({ customError: plainWords });
}

/** undefined where zod's own words are plain enough. */
function plainWords(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.input === undefined && (issue.code === "invalid_type" || issue.code === "invalid_value"))
    return "is required";
  switch (issue.code) {
    case "invalid_type":
      return `must be ${KINDS[issue.expected] ?? issue.expected}`;
    case "invalid_value":
      return `must be ${issue.values.length > 1 ? "one of " : ""}${issue.values.join(", ")}`;
    case "too_small":
      if (issue.origin === "string" && issue.minimum === 1) return "must not be empty";
      return `must ${bound("at least", issue.origin, issue.minimum)}`;
    case "too_big":
      return `must ${bound("at most", issue.origin, issue.maximum)}`;
    case "invalid_format":
      return issue.format === "regex" ? "has a form that is not taken" : `must be a valid ${issue.format}`;
    default:
      return undefined;
  }
}

function bound(side: string, origin: string, limit: number | bigint): string {
  const unit = UNITS[origin];
  return unit ? `have ${side} ${unit(limit)}` : `be ${side} ${limit}`;
}

import { OpenAPIHono } from "@hono/zod-openapi";
import { AppError } from "../core/errors.ts";
import type { HttpEnv } from "./env.ts";

/** Of what is wrong with a request so many are named: a body can hold a mistake for every few bytes. */
const NAMED_MOST = 20;

/** A router whose failed validations are problems, and whose paths may end in a slash. */
export function createRouter(): OpenAPIHono<HttpEnv> {
  return new OpenAPIHono<HttpEnv>({
    strict: false,
    defaultHook: (result) => {
      if (result.success) return;
      const { issues } = result.error;
      const errors = issues.slice(0, NAMED_MOST).map(({ path, message }) => ({ path: path.join("."), message }));
      const named = errors.map(({ path, message }) => (path ? `${path}: ${message}` : `the body ${message}`));
      const rest = issues.length - errors.length;
      const detail = [...named, ...(rest > 0 ? [`and ${rest} more`] : [])].join("; ");
      throw new AppError("validation_failed", detail, { errors });
    },
  });
}

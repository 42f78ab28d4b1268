import { OpenAPIHono } from "@hono/zod-openapi";
import { AppError } from "../core/errors.ts";
import type { HttpEnv } from "./env.ts";

/** A router whose failed validations are problems, and whose paths may end in a slash. */
export function createRouter(): OpenAPIHono<HttpEnv> {
  return new OpenAPIHono<HttpEnv>({
    strict: false,
    defaultHook: (result) => {
      if (result.success) return;
      const errors = result.error.issues.map(({ path, message }) => ({ path: path.join("."), message }));
      const detail = errors
        .map(({ path, message }) => (path ? `${path}: ${message}` : `the body ${message}`))
        .join("; ");
      throw new AppError("validation_failed", detail, { errors });
    },
  });
}

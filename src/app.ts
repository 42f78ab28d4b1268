import { OpenAPIHono } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { methodNotAllowed } from "hono/method-not-allowed";
import { requestId } from "hono/request-id";
import type { Buckets } from "./bus/buckets.ts";
import type { Config } from "./config.ts";
import { AppError } from "./core/errors.ts";
import { newId } from "./core/id.ts";
import { openApiDocument } from "./docs/document.ts";
import { admit, identifier, identify, publicPages } from "./http/auth.ts";
import { routePath, underBase } from "./http/base-path.ts";
import { jsonBody } from "./http/body.ts";
import { boundBodies } from "./http/body-budget.ts";
import type { HttpEnv } from "./http/env.ts";
import { securityHeaders } from "./http/headers.ts";
import { loopbackOnly, sameSiteOnly } from "./http/hosts.ts";
import { endLines } from "./http/lines.ts";
import { logRequests } from "./http/log.ts";
import { limitStreams } from "./http/open-streams.ts";
import { problem, problemHandler, unknownRoute } from "./http/problems.ts";
import { limitRate } from "./http/rate-limit.ts";
import { speakPlainly } from "./http/words.ts";
import { agents } from "./routes/agents.ts";
import { chats } from "./routes/chats.ts";
import { coaching } from "./routes/coaching.ts";
import { conversations } from "./routes/conversations.ts";
import { docs } from "./routes/docs.ts";
import { overview } from "./routes/overview.ts";
import { send } from "./routes/send.ts";
import { service } from "./routes/service.ts";
import { sessionControl } from "./routes/session-control.ts";
import { sessionEvents } from "./routes/session-events.ts";
import { sessionExtensions } from "./routes/session-extensions.ts";
import { sessionMessages } from "./routes/session-messages.ts";
import { sessionTranscript } from "./routes/session-transcript.ts";
import { sessions } from "./routes/sessions.ts";
import { streamChat } from "./routes/stream.ts";
import { streamWebhook } from "./routes/stream-webhook.ts";
import { turns } from "./routes/turns.ts";
import { usage } from "./routes/usage.ts";
import { users } from "./routes/users.ts";
import type { Services } from "./services.ts";
import { tokenIssuer } from "./stream-chat/tokens.ts";

type AppConfig = Config & {
  /** null where requests are not limited. */
  buckets: Buckets | null;
};

/** The whole service as one Hono app: what every surface shares, then the surfaces. */
export function createApp(services: Services, config: AppConfig): OpenAPIHono<HttpEnv> {
  speakPlainly();
  const app = new OpenAPIHono<HttpEnv>({ getPath: routePath(config.BASE_PATH) });
  app.onError(problemHandler(services.log));
  app.notFound(unknownRoute);

  if (config.BASE_PATH !== "") app.use(underBase(config.BASE_PATH));
  app.use(requestId({ generator: newId }), logRequests(services.log, services.metrics.request));
  app.use(endLines, securityHeaders, leaveWhenDraining(services));
  if (config.ALLOWED_ORIGINS.length > 0) app.use(corsFor(config.ALLOWED_ORIGINS));
  app.use(methodNotAllowed({ app, onMethodNotAllowed: wrongMethod }));
  if (config.open && !config.ALLOW_OPEN) app.use(loopbackOnly);
  if (config.open) app.use(sameSiteOnly(config.ALLOWED_ORIGINS));
  const isPublic = publicPages(config);
  app.use(identify(identifier(config, services.log), isPublic));
  const { RATE_LIMIT: rate, buckets, TRUST_PROXY: proxies } = config;
  if (rate && buckets) app.use(limitRate({ rate, buckets, proxies }));
  app.use(
    admit(isPublic),
    limitStreams(config.MAX_STREAMS_PER_USER, services.streams),
    boundBodies({ most: config.MAX_BODY_BYTES, proxies }),
    ...jsonBody(config.MAX_BODY_BYTES),
  );

  const live = [sessions, sessionControl, sessionMessages, sessionExtensions, sessionEvents, sessionTranscript, agents];
  for (const surface of [chats, conversations, send, coaching, turns, usage, ...live, users, overview])
    app.route("/", surface(services));
  if (config.stream) app.route("/", streamChat(services, tokenIssuer(config.stream, services.clock)));
  if (services.streamInbox) app.route("/", streamWebhook(services.streamInbox, config.MAX_BODY_BYTES));
  let built: ReturnType<typeof openApiDocument> | undefined;
  const document = () => {
    built ??= openApiDocument(app, {
      version: services.version,
      basePath: config.BASE_PATH,
      hasStream: config.stream !== null,
    });
    return built;
  };
  app.route("/", service(services, document));
  app.route("/", docs(document));
  return app;
}

/** A connection that is kept would keep a stopping server. */
function leaveWhenDraining({ leaving }: Services): MiddlewareHandler<HttpEnv> {
  return async (c, next) => {
    if (leaving.aborted) c.header("Connection", "close");
    await next();
  };
}

function corsFor(origins: string[]) {
  const any = origins[0] === "*";
  return cors({
    origin: any ? "*" : origins,
    credentials: !any,
    allowMethods: ["GET", "HEAD", "POST", "PATCH", "DELETE"], // those that routes take
    exposeHeaders: ["Link", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id"],
    maxAge: 600, // seconds
  });
}

function wrongMethod(c: Parameters<typeof problem>[0], methods: string[]): Response {
  const allow = { Allow: [...methods, "OPTIONS"].join(", ") };
  if (c.req.method === "OPTIONS") {
    c.res.headers.delete("Content-Type");
    return c.body(null, 204, allow);
  }
  const response = problem(c, new AppError("method_not_allowed", `This path takes ${methods.join(", ")}.`));
  response.headers.set("Allow", allow.Allow);
  return response;
}

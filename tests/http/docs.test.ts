import { existsSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { expectProblem } from "../support/http-expect.ts";
import { type Prefixed, startUnder } from "../support/http-prefix.ts";
import { useApp } from "../support/http-setup.ts";
import { type Service, startService } from "../support/service.ts";

const files = [
  "swagger-ui.css",
  "swagger-ui.js",
  "swagger-init.js",
  "swagger-page.css",
  "redoc.js",
  "redoc-init.js",
  "redoc-page.css",
];

describe("the documentation", () => {
  const parts = useApp();

  it.each(["/docs", "/redoc", "/docs/"])("%s is a page that may only ask its own host", async (path) => {
    const page = await parts.app.request(path, {});
    expect(page.status).toBe(200);
    expect(page.headers.get("content-type")).toMatch("text/html");
    const policy = page.headers.get("content-security-policy") ?? "";
    expect(policy).toMatch(/^default-src 'none'; script-src 'self';/);
    expect(policy).not.toMatch(/https?:|\*/);
  });

  it.each(files)("its file %s comes packed or unpacked, and not again unless it has changed", async (file) => {
    const plain = await parts.app.request(`/docs/${file}`, {});
    expect(plain.status).toBe(200);
    expect(plain.headers.get("content-type")).toMatch(file.endsWith("css") ? "text/css" : "text/javascript");
    const etag = plain.headers.get("etag");
    if (!etag) return expect(file).toMatch(/-(init|page)\./);
    const packed = await parts.app.parley.app.request(`/docs/${file}`, { headers: { "accept-encoding": "gzip" } });
    expect(packed.headers.get("content-encoding")).toBe("gzip");
    expect(gunzipSync(await packed.arrayBuffer()).toString()).toBe(plain.text);
    expect((await parts.app.request(`/docs/${file}`, { headers: { "if-none-match": etag } })).status).toBe(304);
  });

  it.each(["nothing.js", "toString", "..%2Fassets.ts"])("has no file %s", async (file) => {
    expectProblem(await parts.app.request(`/docs/${file}`, {}), 404, "not_found");
  });

  it("names every operation once, with summary, tag and schemas for each status", async () => {
    const { paths } = (await parts.app.call("GET", "/openapi.json")).json;
    const operations = Object.values<Record<string, { operationId: string; summary: string; tags: string[] }>>(
      paths,
    ).flatMap((path) => Object.values(path));
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(operations.length);
    for (const { summary, tags } of operations) expect([summary, ...tags].join()).toMatch(/\S,\S/);
  });

  it("says how to come in: by a JWT, or by the key of a service", async () => {
    const { security, components } = (await parts.app.call("GET", "/openapi.json")).json;
    expect(security).toEqual([{ Bearer: [] }]);
    expect(components.securitySchemes).toEqual({
      Bearer: { type: "http", scheme: "bearer", description: expect.stringMatching(/JWT.*key of a service/) },
    });
  });
});

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
if (!executablePath) console.warn("SKIPPED: no chromium on this machine, so the documentation is tried in no browser");

describe.skipIf(!executablePath).each(["node", "bun"] as const)("in a browser, served by %s,", (runtime) => {
  let browser: Browser;
  let service: Service;
  beforeAll(async () => {
    service = await startService(runtime, {
      DATABASE_URL: await databases[0].fresh(),
      JWT_SECRET: SECRET,
      HOST: "127.0.0.1",
    });
    const args = ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update"];
    browser = await chromium.launch({ executablePath: executablePath ?? "", args });
  });
  afterAll(async () => {
    await browser?.close();
    await service?.end();
  });

  type Opened = { page: Page; complaints: string[]; asked: string[] };

  /** Opens a page, and keeps what it says on its console and whom it asks. */
  async function open(path: string, at = service.url, colorScheme: "light" | "dark" = "light"): Promise<Opened> {
    const page = await browser.newPage({ colorScheme });
    page.setDefaultTimeout(100_000); // a busy machine is slow
    const [complaints, asked]: [string[], string[]] = [[], []];
    page.on("console", (message) => void (message.type() === "error" && complaints.push(message.text())));
    page.on("pageerror", (error) => void complaints.push(String(error)));
    page.on("request", (request) => void asked.push(request.url()));
    await page.goto(at + path);
    return { page, complaints, asked };
  }
  /** Presses Execute, and gives what the page then shows of the answer. */
  async function execute(page: Page, operationId: string, given: Record<string, string> = {}) {
    const operation = page.locator(`[id$="-${operationId}"].opblock`);
    await operation.locator(".opblock-summary-control").click();
    for (const [name, value] of Object.entries(given)) {
      await operation.locator(`tr[data-param-name="${name}"] input`).fill(value);
    }
    await operation.locator(".execute").click();
    const status = operation.locator(".live-responses-table tbody .response-col_status").first();
    await status.waitFor();
    const body = await operation.locator(".live-responses-table .highlight-code pre").first().textContent();
    return { status: await status.textContent(), body: body ?? "", operation };
  }

  const isOutside = (url: string) => !url.startsWith(service.url) && !/^(data|blob):/.test(url);

  async function authorize(page: Page) {
    await page.getByRole("button", { name: "Authorize" }).first().click();
    const { authorization = "" } = await as("alice");
    await page.locator(".auth-container input").fill(authorization.replace("Bearer ", ""));
    await page.locator(".auth-btn-wrapper .authorize").click();
    await page.locator(".auth-btn-wrapper .btn-done").click();
  }

  it("Swagger UI shows the routes, takes a token and tries requests that succeed", async () => {
    const { page, complaints, asked } = await open("/docs");
    await authorize(page);
    const made = await execute(page, "createSession");
    expect(made.status).toMatch("201");
    expect(made.body).toMatch('"user_id": "alice"');
    const { id: session_id } = JSON.parse(made.body);
    const told = await execute(page, "watchSession", { session_id });
    expect(told.status, "a stream without an end").toMatch("200");
    expect(told.body).toMatch("the stream itself goes on");
    expect((await execute(page, "sendMessage")).status).toMatch("200");
    expect(complaints).toEqual([]);
    expect(asked.filter(isOutside)).toEqual([]);
    await page.close();
  });

  it("Swagger UI shows once an operation what its errors look like", async () => {
    const { page } = await open("/docs");
    const operation = page.locator("#operations-Chats-createChat");
    await operation.locator(".opblock-summary-control").click();
    const errors = operation.locator('.response[data-code^="4"], .response[data-code^="5"]');
    await errors.first().waitFor();
    expect(await errors.count()).toBeGreaterThan(5);
    expect(await errors.locator(".model-example").filter({ visible: true }).count()).toBe(1);
    await page.close();
  });

  it.each(["/docs", "/redoc"])("%s is dark where its reader has it dark, and says how to begin", async (path) => {
    for (const scheme of ["light", "dark"] as const) {
      const { page, complaints } = await open(path, service.url, scheme);
      await page.getByRole("heading", { name: "Idempotency" }).first().waitFor();
      const heading = `[...document.querySelectorAll("h1, h2, h3")].find((one) => one.textContent.includes("Idempotency"))`;
      const background = await page.evaluate<string>("getComputedStyle(document.body).backgroundColor");
      const text = await page.evaluate<string>(`getComputedStyle(${heading}).color`);
      const isDark = (color: string) =>
        color
          .match(/\d+/g)
          ?.slice(0, 3)
          .every((part) => Number(part) < 100);
      if (scheme === "dark") expect([isDark(background), isDark(text)]).toEqual([true, false]);
      else expect(isDark(text)).toBe(true);
      expect(complaints).toEqual([]);
      await page.close();
    }
  });

  it.each([
    ["takes off", { keeps: false, slash: "/" }],
    ["keeps", { keeps: true, slash: "" }],
  ])("the pages work behind a proxy that %s a path", async (_, { keeps, slash }) => {
    const [given, proxy] = await behindProxy(keeps);
    try {
      const swagger = await open(`/docs${slash}`, proxy.url);
      await authorize(swagger.page);
      expect((await execute(swagger.page, "createChat")).status).toMatch("201");
      const redoc = await open(`/redoc${slash}`, proxy.url);
      await redoc.page.getByRole("heading", { name: "Make a chat" }).first().waitFor();
      for (const { page, complaints } of [swagger, redoc]) {
        expect(complaints).toEqual([]);
        await page.close();
      }
    } finally {
      await proxy.close();
      await given?.end();
    }
  });

  /** A service that knows the path only where the proxy leaves it to it. */
  async function behindProxy(keeps: boolean): Promise<[Service | undefined, Prefixed]> {
    const env = { DATABASE_URL: ":memory:", JWT_SECRET: SECRET, HOST: "127.0.0.1", BASE_PATH: "/chat-api" };
    const own = keeps ? await startService(runtime, env) : undefined;
    return [own, await startUnder((own ?? service).url, { path: "/chat-api", keeps })];
  }

  it("ReDoc shows the routes", async () => {
    const { page, complaints, asked } = await open("/redoc");
    await page.getByRole("heading", { name: "Make a chat" }).first().waitFor();
    expect(complaints).toEqual([]);
    expect(asked.filter(isOutside)).toEqual([]);
    await page.close();
  });
});

import { existsSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { expectProblem } from "../support/http-expect.ts";
import { useApp } from "../support/http-setup.ts";
import { type Service, startService } from "../support/service.ts";

const files = ["swagger-ui.css", "swagger-ui.js", "swagger-init.js", "redoc.js"];

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
    if (!etag) return expect(file).toBe("swagger-init.js");
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

  /** Opens a page, and keeps what it says on its console and whom it asks. */
  async function open(path: string): Promise<{ page: Page; complaints: string[]; asked: string[] }> {
    const page = await browser.newPage();
    const [complaints, asked]: [string[], string[]] = [[], []];
    page.on("console", (message) => void (message.type() === "error" && complaints.push(message.text())));
    page.on("pageerror", (error) => void complaints.push(String(error)));
    page.on("request", (request) => void asked.push(request.url()));
    await page.goto(service.url + path);
    return { page, complaints, asked };
  }
  const isOutside = (url: string) => !url.startsWith(service.url) && !/^(data|blob):/.test(url);

  it("Swagger UI shows the routes, takes a token and tries a request that succeeds", async () => {
    const { page, complaints, asked } = await open("/docs");
    await page.getByRole("button", { name: "Authorize" }).first().click();
    const { authorization = "" } = await as("alice");
    await page.locator(".auth-container input").fill(authorization.replace("Bearer ", ""));
    await page.locator(".auth-btn-wrapper .authorize").click();
    await page.locator(".auth-btn-wrapper .btn-done").click();
    const operation = page.locator("#operations-Chats-createChat");
    await operation.locator(".opblock-summary-control").click();
    await operation.locator(".execute").click();
    await operation.locator(".live-responses-table .response-col_status").first().waitFor();
    expect(await operation.locator(".live-responses-table tbody .response-col_status").first().textContent()).toMatch(
      "201",
    );
    expect(await operation.locator(".live-responses-table").textContent()).toMatch('"user_id": "alice"');
    expect(complaints).toEqual([]);
    expect(asked.filter(isOutside)).toEqual([]);
    await page.close();
  });

  it("ReDoc shows the routes", async () => {
    const { page, complaints, asked } = await open("/redoc");
    await page.getByRole("heading", { name: "Make a chat" }).first().waitFor();
    expect(complaints).toEqual([]);
    expect(asked.filter(isOutside)).toEqual([]);
    await page.close();
  });
});

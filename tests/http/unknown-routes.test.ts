import { describe, expect, it } from "vitest";
import { expectProblem } from "../support/http-expect.ts";
import { useApp } from "../support/http-setup.ts";

describe("a path that leads nowhere", () => {
  const parts = useApp();

  it("says where to look", async () => {
    const called = await parts.app.call("GET", "/nowhere");
    expectProblem(called, 404, "not_found");
    expect(called.json.detail).toMatch(/^There is no such route\. .*\/routes.*\/docs/);
  });

  it.each(["/v1/chat/completions", "/v1/models", "/v1"])("tells clients of OpenAI's API too: %s", async (path) => {
    const called = await parts.app.call("POST", path, { model: "fast", messages: [] });
    expectProblem(called, 404, "not_found");
    expect(called.json.detail).toMatch(/OpenAI's API is not among them.*\/chat, .*\/generate-response/);
    for (const [, route = ""] of called.json.detail.matchAll(/ (\/[\w/{}-]+)(?=,| or|\.$)/g)) {
      const documented = Object.keys((await parts.app.call("GET", "/openapi.json")).json.paths);
      expect(documented.map((one) => one.replace(/\{\w+\}/g, "{id}"))).toContain(route);
    }
  });
});

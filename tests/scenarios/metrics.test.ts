import { describe, it } from "vitest";
import { databases } from "../support/databases.ts";
import { providerForTest, serviceForTest } from "../support/http-worlds.ts";
import { samplesIn, valueAt } from "../support/metric-samples.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";

describe.concurrent.each(["node", "bun"] as const)("on %s", (runtime) => {
  it("what happens is counted, and goes on in the trace of its request, in the log and at the provider", async (test) => {
    const { expect } = test;
    const provider = await providerForTest(test);
    const url = await databases[0].fresh();
    const service = await serviceForTest(test, { runtime, url, provider, env: { MODELS: "balanced=openai/first" } });
    const traced = { traceparent: `00-${TRACE}-${SPAN}-01`, tracestate: "vendor=1" };
    const body = { message: "Hello", stream: true };
    const batches = async () =>
      valueAt(samplesIn((await service.call("GET", "/metrics")).text), "parley_db_commit_batches_sum") ?? 0;
    const before = await batches(); // what a start takes is none of a turn's
    expect((await service.call("POST", "/api/chat/send", body, traced)).text).toContain("turn.completed");
    expect((await service.call("POST", "/api/chat/send", { message: "Hello" })).status).toBe(200);

    const metrics = await service.call("GET", "/metrics");
    expect(metrics.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    const samples = samplesIn(metrics.text);
    const turn = { model: "balanced", target: "openai/first", outcome: "completed" };
    expect(valueAt(samples, "parley_turns_total", turn)).toBe(2);
    expect((valueAt(samples, "parley_db_commit_batches_sum") ?? 0) - before).toBe(4);
    expect(valueAt(samples, "process_resident_memory_bytes")).toBeGreaterThan(1e6);
    expect(valueAt(samples, "nodejs_heap_size_used_bytes")).toBeGreaterThan(1e6);

    const [first, second] = provider.asked.map(({ headers }) => [headers["traceparent"], headers["tracestate"]]);
    expect(first).toEqual([expect.stringMatching(`^00-${TRACE}-(?!${SPAN})[0-9a-f]{16}-01$`), "vendor=1"]);
    expect(second).toEqual([undefined, undefined]);
    const lines = () =>
      service.logged
        .map((line) => JSON.parse(line))
        .filter(({ msg, route }) => msg === "request" && route === "/api/chat/send");
    await expect.poll(() => lines().length).toBe(2);
    const [one, other] = lines();
    const span = expect.stringMatching(/^[0-9a-f]{16}$/);
    expect(one).toMatchObject({ route: "/api/chat/send", trace_id: TRACE, span_id: span, parent_span_id: SPAN });
    expect(one.span_id).not.toBe(SPAN);
    expect(other).not.toHaveProperty("trace_id");
    expect(await service.end()).toBe(0);
  });
});

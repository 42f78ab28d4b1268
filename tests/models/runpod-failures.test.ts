import { describe, expect, it } from "vitest";
import type { FailureKind } from "../../src/core/model.ts";
import { kindOfError } from "../../src/models/failures.ts";
import type { Trouble } from "../support/runpod.ts";
import { completion, sse, TRACEBACK, tokens } from "../support/runpod-outputs.ts";
import { textOf, useRunpod } from "../support/runpod-setup.ts";

const { fake, ask } = useRunpod();

const STOP = { type: "end", finishReason: "stop" };
const failed = (kind: FailureKind) => ({ type: "failed", kind });
const done = (...puts: unknown[]) => ({ status: "COMPLETED", puts });
const running = (...puts: unknown[]) => ({ status: "IN_PROGRESS", puts });
const queued = { status: "IN_QUEUE" };
const nth = (at: number, trouble: Trouble) => (n: number) => (n === at ? trouble : undefined);

describe("a job that is not taken", () => {
  it.each<{ run: Trouble; kind: FailureKind }>([
    { run: { status: 400 }, kind: "bad_request" },
    { run: { status: 401 }, kind: "auth" },
    { run: { status: 403 }, kind: "auth" },
    { run: { status: 404 }, kind: "model_gone" },
    { run: { status: 429 }, kind: "rate_limited" },
    { run: { status: 500 }, kind: "overloaded" },
    { run: { status: 503, body: TRACEBACK }, kind: "overloaded" },
    { run: "cut", kind: "connect" },
    { run: { text: "<html>a proxy's page</html>" }, kind: "connect" },
    { run: { text: "{}" }, kind: "connect" },
  ])("because of $run has failed as $kind", async ({ run, kind }) => {
    const error = await ask({ run }).all.catch((thrown) => thrown);
    expect(kindOfError(error, "connect")).toBe(kind);
    expect(String(error)).not.toContain("Traceback");
  });

  it("because the endpoint has another name, or the key is another, has failed as such", async () => {
    const [gone, refused] = [ask({}, { endpointId: "none" }), ask({}, { apiKey: "another" })];
    await expect(gone.all).rejects.toMatchObject({ status: 404 });
    await expect(refused.all).rejects.toMatchObject({ status: 401 });
  });
});

describe("a job that ends", () => {
  it.each<{ status: string; kind: FailureKind; later?: FailureKind }>([
    { status: "FAILED", kind: "stream_incomplete" },
    { status: "CANCELLED", kind: "stream_incomplete" },
    { status: "TIMED_OUT", kind: "timeout_first_token", later: "timeout_idle" },
  ])(
    "as $status has failed so that another target is tried, and is not cancelled",
    async ({ status, kind, later = kind }) => {
      const without = await ask({ life: [queued, running(), { status }] }).all;
      expect(without.at(-1)).toEqual(failed(kind));
      const after = await ask({ life: [running(tokens(["Half"])), { status, puts: [tokens([" an"])] }] }).all;
      expect([textOf(after), after.at(-1)]).toEqual(["Half an", failed(later)]);
      expect(fake().cancelled).toEqual([]);
    },
  );

  it.each<{ what: string; put: unknown; text?: string }>([
    { what: "nothing", put: null, text: "" },
    { what: "something nobody knows", put: { images: [] }, text: "" },
    { what: "an aborted completion", put: [completion("Half", "abort")] },
    { what: "an event stream that says nothing of its end", put: sse(["Half"], null).replace("data: [DONE]\n\n", "") },
    { what: "an event stream that breaks off", put: sse(["Half"]).slice(0, 120) },
  ])("as COMPLETED with $what is no whole answer, streamed or not", async ({ put, text = "Half" }) => {
    for (const script of [{ life: [running(put), done()] }, { life: [running(), done()], result: put }]) {
      const events = await ask(script).all;
      expect([textOf(events), events.at(-1)]).toEqual([text, failed("stream_incomplete")]);
    }
  });

  it("with an error in its output has failed at once, and is cancelled", async () => {
    const before = fake().cancelled.length;
    const events = await ask({ life: [running(tokens(["Half"])), running({ error: TRACEBACK })] }).all;
    expect([textOf(events), events.at(-1)]).toEqual(["Half", failed("stream_incomplete")]);
    await expect.poll(() => fake().cancelled.slice(before)).toEqual([fake().jobs.at(-1)?.id]);
  });

  it("by being forgotten has failed, with the text that came or without", async () => {
    const without = await ask({ life: [queued], poll: nth(2, { status: 404 }) }).all;
    expect(without.at(-1)).toEqual(failed("stream_incomplete"));
    const after = await ask({ life: [running("Half"), running()], poll: nth(2, { status: 404 }) }).all;
    expect([textOf(after), after.at(-1)]).toEqual(["Half", failed("stream_cut")]);
  });
});

const troubles: Trouble[] = ["cut", { status: 500 }, { status: 502, body: TRACEBACK }, { text: "<html>" }];

describe("a poll that fails", () => {
  it.each(troubles)("(%j) takes nothing from the answer with it, and adds nothing", async (trouble) => {
    for (const words of [
      ["one ", "two ", "three"].map((word) => tokens([word])),
      sse(["one ", "two ", "three"]).match(/.{1,99}/gs) ?? [],
    ]) {
      const life = [...words.map((word) => running(word)), done()];
      const events = await ask({ life, poll: nth(2, trouble) }).all;
      expect([textOf(events), events.at(-1)]).toEqual(["one two three", STOP]);
    }
  });

  it("while it is open yet what the output is takes nothing with it either", async () => {
    const text = sse(["one ", "two"]);
    const life = [running(text.slice(0, 3)), running(text.slice(3, 60)), running(text.slice(60)), done()];
    const events = await ask({ life, poll: nth(2, "cut") }).all;
    expect([textOf(events), events.at(-1)]).toEqual(["one two", STOP]);
  });

  it("because there were too many only takes time", async () => {
    const before = fake().polls.length;
    const life = [running("one "), running("two "), done("three"), done()];
    const events = await ask({ life, poll: nth(2, { status: 429 }) }).all;
    expect([textOf(events), events.at(-1)]).toEqual(["one two three", STOP]);
    expect(fake().polls.slice(before)).not.toContain("status");
  });

  it("in the queue does not keep the answer from being streamed", async () => {
    const life = [queued, queued, queued, running("one "), running("two"), done()];
    const events = await ask({ life, poll: nth(1, { status: 500 }) }).all;
    expect(events.filter((event) => event.type === "delta").map(({ text }) => text)).toEqual(["one ", "two"]);
  });

  it("leaves an answer that cannot be made good unproven: a result that goes on otherwise is not spliced to it", async () => {
    for (const result of ["one and other words", [], ["one "]]) {
      const life = [running("one two "), running("three "), running("four"), done()];
      const events = await ask({ life, poll: nth(2, "cut"), result }).all;
      expect([textOf(events), events.at(-1)]).toEqual(["one two ", failed("stream_incomplete")]);
    }
  });

  it("again and again has failed the call, and the job is cancelled", async () => {
    const before = fake().cancelled.length;
    const turn = ask({ life: [running()], poll: () => ({ status: 503 }) });
    await expect(turn.all).rejects.toMatchObject({ status: 503 });
    await expect.poll(() => fake().cancelled.slice(before)).toEqual([fake().jobs.at(-1)?.id]);
  });

  it("again and again after text has cut the answer off", async () => {
    const poll = (n: number) => (n > 1 ? "cut" : undefined);
    const events = await ask({ life: [running("Half"), running()], poll }).all;
    expect([textOf(events), events.at(-1)]).toEqual(["Half", failed("stream_cut")]);
  });

  it("because the key is refused has failed the call at once", async () => {
    await expect(ask({ life: [running()], poll: nth(1, { status: 401 }) }).all).rejects.toMatchObject({ status: 401 });
  });
});

describe("a job of a busy endpoint", () => {
  it("that is not known yet right after it was begun is asked for again", async () => {
    const poll = (n: number) => (n <= 3 ? { status: 404, body: { error: "job not found" } } : undefined);
    const events = await ask({ life: [running(), running(), running(), running("Hi"), done()], poll }).all;
    expect([textOf(events), events.at(-1)]).toEqual(["Hi", { type: "end", finishReason: "stop" }]);
  });

  it("that is forgotten later has failed", async () => {
    const poll = (n: number) => (n === 2 ? { status: 404 } : undefined);
    const events = await ask({ life: [running()], poll }).all;
    expect(events.at(-1)).toEqual(failed("stream_incomplete"));
  });

  it("whose answer is whole is not waited for, though it lingers", async () => {
    const before = fake().cancelled.length;
    const events = await ask({ life: [running(sse(["All", " of it"])), running()] }).all;
    expect([textOf(events), events.at(-1)]).toEqual(["All of it", { type: "end", finishReason: "stop" }]);
    expect(events.some(({ type }) => type === "usage")).toBe(true);
    expect(fake().cancelled.slice(before), "it is as good as over").toEqual([]);
  });

  it("that is queued again behind some output begins its answer anew", async () => {
    const life = [running("First "), { status: "IN_QUEUE" }, running("First "), running("and second"), done()];
    const events = await ask({ life }).all;
    const restart = events.findIndex(({ type }) => type === "restart");
    expect(textOf(events.slice(0, restart))).toBe("First ");
    expect([textOf(events.slice(restart)), events.at(-1)]).toEqual([
      "First and second",
      { type: "end", finishReason: "stop" },
    ]);
  });

  it("is polled on, however often it is told to wait", async () => {
    const poll = (n: number) => (n > 1 && n < 8 ? { status: 429, headers: { "retry-after-ms": "20" } } : undefined);
    const events = await ask({ life: [running("One "), ...Array(6).fill(running()), running("two"), done()], poll })
      .all;
    expect([textOf(events), events.at(-1)]).toEqual(["One two", { type: "end", finishReason: "stop" }]);
  });
});

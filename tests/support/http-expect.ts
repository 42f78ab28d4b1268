import { expect } from "vitest";
import type { Called } from "./app.ts";

/** RFC 3339, UTC, milliseconds. */
export const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
/** A UUIDv7, as ours are. */
export const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

export const time = expect.stringMatching(TIME);
export const uuid = expect.stringMatching(UUID);

/** An id that nothing has. */
export const NOBODY = "01990b5e-7c1a-7d2e-9f3a-4b5c6d7e8f90";

const INTERNALS =
  /\bat \S+ \(|\.[jt]s:\d+|node_modules|\bselect\b.+\bfrom\b|insert into|update ".+set|SQLITE_|postgres:\/\//i;

/** The problem of RFC 9457 with every field that the contract promises, and nothing of our insides. */
export function expectProblem(called: Called, status: number, code: string): void {
  expect({ status: called.status, code: called.json?.code }).toEqual({ status, code });
  expect(called.headers.get("content-type")).toBe("application/problem+json");
  expect(called.json).toMatchObject({
    type: expect.any(String),
    title: expect.stringMatching(/\S/),
    status,
    detail: expect.stringMatching(/\S/),
    request_id: called.headers.get("x-request-id"),
  });
  expect(called.json.request_id).toMatch(/^[\w=-]+$/);
  if (code === "validation_failed") {
    expect(called.json.errors).toEqual(
      expect.arrayContaining([{ path: expect.any(String), message: expect.any(String) }]),
    );
  }
  expect(called.text).not.toMatch(INTERNALS);
}

/** For `expect.poll`: often, and for long enough on a machine that is busy with other things. */
export const PATIENT = { timeout: 60_000, interval: 5 } as const;

/** Where a `Link: <…>; rel="next"` header leads. */
export function nextLink(called: Called): string | undefined {
  return /^<([^>]+)>; rel="next"$/.exec(called.headers.get("link") ?? "")?.[1];
}

/** Waits until the clock shows a later millisecond than now, so that two times differ. */
export const laterMillisecond = async (): Promise<void> => {
  const now = Date.now();
  await expect.poll(() => Date.now(), { ...PATIENT, interval: 1 }).toBeGreaterThan(now);
};

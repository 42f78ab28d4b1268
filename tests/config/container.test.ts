import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { parseConfig } from "../../src/config.ts";
import { SECRET } from "../support/app.ts";

// There is no container engine here: what an image would be built and run by is held to what it has to say.

const root = fileURLToPath(new URL("../..", import.meta.url));
const textOf = (name: string) => readFileSync(join(root, name), "utf8");

/** The instructions of the image that is shipped: those after the last FROM. */
const shipped = textOf("Dockerfile")
  .split(/^FROM /m)
  .at(-1)
  ?.split("\n") as string[];
const said = (instruction: string) =>
  shipped.filter((line) => line.startsWith(`${instruction} `)).map((line) => line.slice(instruction.length + 1));
const environment = Object.fromEntries((said("ENV")[0] ?? "").split(" ").map((pair) => pair.split(/=(.*)/s)));

const problemsOf = (env: Record<string, string>): string[] => {
  const parsed = parseConfig(env);
  return "problems" in parsed ? parsed.problems : [];
};

describe("the image", () => {
  it("runs the binary itself, as process 1 that signals reach, and asks it for its health", () => {
    expect(said("ENTRYPOINT").map((text) => JSON.parse(text))).toEqual([["/usr/local/bin/parley"]]);
    const [, check = ""] = (said("HEALTHCHECK")[0] ?? "").split(" CMD ");
    expect(JSON.parse(check)).toEqual(["/usr/local/bin/parley", "healthcheck"]);
    expect(said("RUN")).toEqual([]); // it has no shell
  });

  it("runs as nobody, who may write into the one volume alone", () => {
    expect(said("USER")).toEqual([expect.stringMatching(/^[1-9]\d*:[1-9]\d*$/)]);
    expect(said("VOLUME")).toEqual(["/data"]);
    expect(said("COPY")).toContainEqual(expect.stringMatching(`--chown=${said("USER")[0]} \\S+ /data$`));
    expect([environment["TMPDIR"], said("WORKDIR")]).toEqual(["/data", ["/data"]]);
    expect(environment["DATABASE_URL"]).toMatch(/^sqlite:\/\/\/\/data\//);
  });

  it("holds no secret, and does not start before it is given one", () => {
    expect(problemsOf(environment)).toEqual([expect.stringMatching(/^HOST: .*JWT_SECRET/)]);
    expect(problemsOf({ ...environment, JWT_SECRET: SECRET })).toEqual([]);
    expect(said("EXPOSE")).toEqual([environment["PORT"]]);
  });

  it("is built out of what is let through to it, which is no secret either", () => {
    const [everything, ...letThrough] = textOf(".dockerignore").trim().split("\n");
    expect(everything).toBe("*");
    const copied = [...textOf("Dockerfile").matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap(([, names = ""]) =>
      names.split(" "),
    );
    expect(letThrough.map((line) => line.replace(/^!/, "")).sort()).toEqual(copied.sort());
  });
});

type Compose = {
  services: Record<
    string,
    {
      environment?: Record<string, string>;
      depends_on?: Record<string, { condition: string }>;
      healthcheck?: { test: string[] };
      ports?: string[];
      read_only?: boolean;
      cap_drop?: string[];
      stop_grace_period?: string;
    }
  >;
};

describe("compose.yaml", () => {
  let services: Compose["services"];
  beforeAll(() => {
    const script = `console.log(JSON.stringify(Bun.YAML.parse(await Bun.file("compose.yaml").text())))`;
    const printed = execFileSync(join(root, "node_modules/bun/bin/bun.exe"), ["-e", script], { cwd: root });
    services = (JSON.parse(printed.toString()) as Compose).services;
  });
  /** What the service is given where `.env` says this. */
  const given = (env: Record<string, string>) =>
    Object.fromEntries(
      Object.entries(services["parley"]?.environment ?? {}).map(([name, value]) => [
        name,
        value.replace(/\$\{(\w+):\?[^}]*\}/g, (_, of) => {
          if (!env[of]) throw new Error(`${of} is missing`);
          return env[of];
        }),
      ]),
    );

  it("starts nothing without its two secrets, and with them a closed service that the published port reaches", () => {
    expect(() => given({ JWT_SECRET: SECRET })).toThrow("POSTGRES_PASSWORD");
    expect(() => given({ POSTGRES_PASSWORD: "pw" })).toThrow("JWT_SECRET");
    const configured = parseConfig(given({ JWT_SECRET: SECRET, POSTGRES_PASSWORD: "pw" }));
    if ("problems" in configured) throw new Error(configured.problems.join("\n"));
    const { open, HOST, PORT, DATABASE_URL, REDIS_URL } = configured.config;
    expect({ open, HOST, DATABASE_URL }).toEqual({
      open: false,
      HOST: "0.0.0.0",
      DATABASE_URL: { dialect: "postgres", url: "postgres://parley:pw@postgres:5432/parley" },
    });
    expect(services["parley"]?.ports).toEqual([expect.stringMatching(`:${PORT}$`)]);
    expect(REDIS_URL).toBe("redis://redis:6379/0");
  });

  it("starts the service once those are healthy that it depends on", () => {
    const { depends_on = {} } = services["parley"] ?? {};
    expect(depends_on).toEqual({
      postgres: { condition: "service_healthy" },
      redis: { condition: "service_healthy" },
    });
    for (const name of Object.keys(depends_on)) expect(services[name]?.healthcheck?.test).toContain("CMD");
  });

  it("gives it longer to stop than it gives its turns, and nothing that it does not need", () => {
    const {
      stop_grace_period = "",
      environment: { DRAIN_TIMEOUT_S } = {},
      read_only,
      cap_drop,
    } = services["parley"] ?? {};
    expect(stop_grace_period).toMatch(/^\d+s$/);
    expect(Number.parseInt(stop_grace_period, 10)).toBeGreaterThanOrEqual(Number(DRAIN_TIMEOUT_S) + 10);
    expect([read_only, cap_drop]).toEqual([true, ["ALL"]]);
  });
});

import { tmpdir } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

export default defineConfig({
  cacheDir: join(tmpdir(), "parley-vitest"),
  test: {
    include: ["tests/**/*.test.ts"],
    globalSetup: ["tests/support/global.ts"],
    isolate: false, // no test changes what others see; a third of the time goes into imports otherwise
    maxWorkers: 3, // much of it waits for the clock, and leaves half of two cores idle
    testTimeout: 20_000,
    hookTimeout: 60_000,
    unstubEnvs: true,
  },
});

import { tmpdir } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

export default defineConfig({
  cacheDir: join(tmpdir(), "parley-vitest"),
  test: {
    include: ["tests/**/*.test.ts"],
    globalSetup: ["tests/support/global.ts"],
    isolate: false, // no test changes what others see; a third of the time goes into imports otherwise
    maxWorkers: 3, // more than there are cores: much of the time is waited for
    retry: 1, // a machine that stalls for a moment fails a test of time, and not twice
    testTimeout: 20_000,
    hookTimeout: 60_000,
    unstubEnvs: true,
  },
});

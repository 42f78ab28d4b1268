import { tmpdir } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

/** What `npm run test:unit` leaves out: tests that start processes or a browser. */
const processes = [
  "tests/config/**",
  "tests/scenarios/**",
  "tests/models/{connections,dispatch,failures,proxy,rescue,runpod-service,silence}.test.ts",
  "tests/db/{address,migrate,outage,silence}.test.ts",
  "tests/http/docs.test.ts",
  "tests/stream-chat/soak.test.ts",
];
/** And those that take long: they wait for what has to run out of time, or do very much. */
const long = [
  "tests/core/{adoption,busy,cache-stories,events-model,queue,recovery,regenerate,retention,shown,two-instances,watch}.test.ts",
  "tests/http/{chat-turns,expiry,failures,fuzz,isolation*,outage,session-gate,session-roles,session-transcript,users}.test.ts",
  "tests/models/{patience,runpod,runpod-cancel,runpod-failures}.test.ts",
  "tests/stream-chat/{inbox-messages,mirror,outages}.test.ts",
  "tests/webhooks/{failures,history}.test.ts",
];

// A busy machine is slow, so every limit here is far longer than a test needs: it finds what hangs, and measures nothing.
export default defineConfig(({ mode }) => ({
  cacheDir: join(tmpdir(), "parley-vitest"),
  test: {
    include: ["tests/**/*.test.ts"],
    exclude: mode === "unit" ? [...processes, ...long] : [],
    globalSetup: ["tests/support/global.ts"],
    cache: false, // two runs at once would write the same file
    isolate: false, // no test changes what others see; a third of the time goes into imports otherwise
    maxWorkers: 3, // more than there are cores: much of the time is waited for
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 60_000, interval: 5 } },
    unstubEnvs: true,
  },
}));

import { defineConfig } from "vitest/config"

const report = process.env.VITEST_JSON_REPORT

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // the Postgres that all test files share
    globalSetup: ["test/globalSetup.ts"],
    // Deno runs vitest only with child processes
    pool: "forks",
    // generous, for browsers and databases that start on a busy machine with two cores
    testTimeout: 30_000,
    hookTimeout: 120_000,
    reporters: report === undefined ? ["default"] : ["default", ["json", { outputFile: report }]]
  }
})

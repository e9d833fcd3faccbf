/**
 * Chromium, where it is installed.
 */
import { onTestFinished } from "@effect/vitest"
import { existsSync } from "node:fs"
import { chromium } from "playwright-core"
import type { Browser, BrowserContextOptions, Page } from "playwright-core"

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync)

/** Whether there is one; tests that need it are skipped where there is none. */
export const hasChromium = executablePath !== undefined

/** Starts Chromium. Whoever starts it closes it. */
export const launch = (): Promise<Browser> => {
  if (executablePath === undefined) throw new Error("Chromium is not installed")
  return chromium.launch({
    executablePath,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync"
    ]
  })
}

/** A window with cookies of its own, and what went wrong in it. */
export interface Window {
  readonly page: Page
  /** Errors and warnings on the console, requests that failed, responses that are errors. */
  readonly complaints: ReadonlyArray<string>
}

/** Opens a window. It does not outlive the test. */
export const open = async (browser: Browser, options: BrowserContextOptions = {}): Promise<Window> => {
  const context = await browser.newContext(options)
  onTestFinished(() => context.close())
  // A machine with two cores may be busy with other tests.
  context.setDefaultTimeout(15_000)
  const page = await context.newPage()
  const complaints: Array<string> = []
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`console: ${message.text()}`)
  })
  page.on("pageerror", (error) => complaints.push(`script: ${error.message}`))
  page.on("dialog", (dialog) => complaints.push(`dialog: ${dialog.message()}`))
  page.on("requestfailed", (request) => complaints.push(`failed: ${request.url()}`))
  page.on("response", (response) => {
    if (response.status() >= 400) complaints.push(`${response.status()}: ${response.url()}`)
  })
  return { page, complaints }
}

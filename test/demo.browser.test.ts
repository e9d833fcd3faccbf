import { afterAll, assert, beforeAll, describe, inject, it } from "@effect/vitest"
import type { Browser, BrowserContextOptions, Cookie, Page } from "playwright-core"
import { hasChromium, launch, open } from "./utils/browser.ts"
import { serve } from "./utils/process.ts"

interface Options extends BrowserContextOptions {
  /** Settings of the server. */
  readonly env?: { readonly [name: string]: string }
}

const sessionCookie = async (page: Page): Promise<Cookie | undefined> =>
  (await page.context().cookies()).find(({ name }) => name === "session")

const sessionValue = async (page: Page): Promise<string | undefined> => (await sessionCookie(page))?.value

/** The seconds left on the clocks: idling, rolling, absolute. */
const timeLeft = (page: Page): Promise<ReadonlyArray<number>> =>
  page.locator("progress").evaluateAll((bars) =>
    bars.map((bar) => bar instanceof HTMLProgressElement ? bar.value : Number.NaN)
  )

const untilIdlingIsBelow = (page: Page, limit: number): Promise<unknown> =>
  page.waitForFunction((limit) => Number(document.querySelector("progress")?.value) < limit, limit)

const notice = (page: Page, text: string): Promise<void> => page.locator("#notice", { hasText: text }).waitFor()

/** Waits until there are so many in the cart. */
const quantity = (page: Page, product: string, quantity: number): Promise<void> =>
  quantity === 0
    ? page.locator(`#${product}-less`).waitFor({ state: "detached" })
    : page.locator(`#${product}-less[value="${quantity - 1}"]`).waitFor()

const add = async (page: Page, product: string): Promise<void> => {
  await page.click(`#${product}-more`)
  await quantity(page, product, 1)
}

const login = async (page: Page, name: string): Promise<void> => {
  await page.fill("#name", name)
  await page.click("#login")
  await page.waitForSelector("#subject")
}

describe.skipIf(!hasChromium)("the page of the demo, in Chromium (which has to be installed)", () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await launch()
  })
  afterAll(() => browser.close())

  /** Walks through the page of a new server, on which nothing may go wrong. */
  const visit = (name: string, { env, ...options }: Options, walk: (page: Page) => Promise<void>) =>
    // oxlint-disable-next-line vitest/valid-title -- it is a string, of whoever calls
    it(name, async () => {
      const { url } = await serve("examples/demo/main.ts", { env: { SESSION_STORE: "cookie", ...env } })
      const { complaints, page } = await open(browser, options)
      await page.goto(url)
      await walk(page)
      assert.deepStrictEqual(complaints, [])
    })

  const keepsCart = async (page: Page): Promise<void> => {
    assert.isUndefined(await sessionCookie(page))
    await add(page, "coffee")
    await page.click("#coffee-more")
    await quantity(page, "coffee", 2)
    await add(page, "cup")
    const anonymous = await sessionValue(page)
    await login(page, "Ada")
    assert.notStrictEqual(await sessionValue(page), anonymous)
    await page.reload()
    assert.strictEqual(await page.innerText("#account-title"), "Hello, Ada")
    assert.strictEqual(await page.innerText("#pieces"), "3 pieces")
    await quantity(page, "coffee", 2)
    await page.click("#coffee-less")
    await quantity(page, "coffee", 1)
    await page.click("#cup-none")
    await quantity(page, "cup", 0)
    assert.strictEqual(await page.innerText("#pieces"), "1 piece")
  }

  visit("keeps a cart through a login and a reload", {}, keepsCart)

  visit("keeps it in Postgres too", {
    env: { SESSION_STORE: "postgres", DATABASE_URL: inject("databaseUrl") }
  }, keepsCart)

  visit("keeps its cookie from scripts", {}, async (page) => {
    await add(page, "cup")
    const cookie = await sessionCookie(page)
    assert.deepInclude(cookie, { httpOnly: true, sameSite: "Strict", secure: false, path: "/", expires: -1 })
    assert.strictEqual(await page.evaluate(() => document.cookie), "")
    assert.strictEqual(await page.innerText("#seen"), "nothing: it is HttpOnly")
  })

  visit("shows how time runs out", {}, async (page) => {
    await add(page, "cup")
    const [idling = 0, rolling = 0, absolute = 0] = await timeLeft(page)
    const clock = await page.innerText(".idling .clock")
    await untilIdlingIsBelow(page, idling - 1.5)
    const later = await timeLeft(page)
    assert.lengthOf(later, 3)
    assert.isBelow(later[1] ?? Infinity, rolling)
    assert.isBelow(later[2] ?? Infinity, absolute)
    assert.notStrictEqual(await page.innerText(".idling .clock"), clock)
  })

  visit("tells of a touch, which fills up the idle clock alone", {
    env: { SESSION_TOUCH_THRESHOLD: "1 second" }
  }, async (page) => {
    await add(page, "cup")
    const value = await sessionValue(page)
    const fingerprint = await page.innerText("#fingerprint")
    await untilIdlingIsBelow(page, 117)
    await page.reload()
    await notice(page, "touched the session")
    const [idling = 0, rolling = Infinity] = await timeLeft(page)
    assert.isBelow(120 - idling, 600 - rolling - 1.5)
    assert.notStrictEqual(await sessionValue(page), value)
    assert.strictEqual(await page.innerText("#fingerprint"), fingerprint)
  })

  visit("renews a session", {}, async (page) => {
    await login(page, "Ada")
    await add(page, "cup")
    const value = await sessionValue(page)
    const fingerprint = await page.innerText("#fingerprint")
    await page.click("#renew")
    await notice(page, "Renewed")
    assert.notStrictEqual(await sessionValue(page), value)
    assert.notStrictEqual(await page.innerText("#fingerprint"), fingerprint)
    assert.strictEqual(await page.innerText("#subject"), "Ada")
    await quantity(page, "cup", 1)
  })

  visit("forgets all at a logout", {}, async (page) => {
    await login(page, "Ada")
    await add(page, "cup")
    await page.click("#logout")
    await notice(page, "Logged out")
    assert.isUndefined(await sessionCookie(page))
    assert.strictEqual(await page.innerText("#pieces"), "0 pieces")
    assert.deepStrictEqual(await timeLeft(page), [])
    await page.reload()
    await notice(page, "You have no session")
    assert.strictEqual(await page.locator("#subject").count(), 0)
  })

  visit("tells by itself when a session has ended", {
    env: { SESSION_IDLING_TIMEOUT: "2 seconds", SESSION_TOUCH_THRESHOLD: "1 second" }
  }, async (page) => {
    await add(page, "cup")
    await notice(page, "nobody used it for too long")
    assert.strictEqual(await page.innerText("#pieces"), "0 pieces")
  })

  visit("loses no click, however fast", {}, async (page) => {
    await page.evaluate(() => {
      for (let i = 0; i < 3; i++) document.getElementById("cup-more")?.click()
    })
    await quantity(page, "cup", 3)
  })

  visit("shows what users write as text", {}, async (page) => {
    const name = "<img src=x onerror=alert(1)>\"'&amp;"
    await login(page, name)
    assert.strictEqual(await page.innerText("#subject"), name)
    await page.reload()
    assert.strictEqual(await page.innerText("#subject"), name)
    assert.strictEqual(await page.locator("img").count(), 0)
  })

  visit("needs no mouse", {}, async (page) => {
    const focused = () => page.locator(":focus")
    const press = (key: string) => page.keyboard.press(key)
    const tabTo = async (id: string) => {
      for (let presses = 0; await focused().getAttribute("id") !== id; presses++) {
        assert.isBelow(presses, 30, `no way to ${id}`)
        await press("Tab")
      }
      const outline = await focused().evaluate((element) => getComputedStyle(element).outlineStyle)
      assert.strictEqual(outline, "solid", `nobody sees where ${id} is`)
    }
    const staysAt = async (id: string) => assert.strictEqual(await focused().getAttribute("id"), id)

    await press("Tab")
    assert.strictEqual(await focused().innerText(), "Skip to the demo")
    await press("Enter")
    await tabTo("name")
    await page.keyboard.type("Ada")
    await press("Enter")
    await notice(page, "Logged in")
    await staysAt("logout")
    await tabTo("coffee-more")
    await press("Space")
    await quantity(page, "coffee", 1)
    await staysAt("coffee-more")
    await press("Space")
    await quantity(page, "coffee", 2)
    await tabTo("coffee-none")
    await press("Enter")
    await quantity(page, "coffee", 0)
    await staysAt("coffee-more")
    await tabTo("renew")
    await press("Enter")
    await notice(page, "Renewed")
    await staysAt("renew")
    for (let i = 0; i < 4; i++) await press("Shift+Tab")
    await staysAt("logout")
    await press("Enter")
    await notice(page, "Logged out")
    await staysAt("login")
  })

  visit("works without scripts", { javaScriptEnabled: false }, async (page) => {
    await add(page, "coffee")
    await page.click("#coffee-more")
    await quantity(page, "coffee", 2)
    await login(page, "Ada")
    assert.strictEqual(new URL(page.url()).search, "?did=logged-in")
    assert.strictEqual(await page.innerText("#account-title"), "Hello, Ada")
    const value = await sessionValue(page)
    await page.click("#renew")
    await notice(page, "Renewed")
    assert.notStrictEqual(await sessionValue(page), value)
    await page.click("#coffee-less")
    await quantity(page, "coffee", 1)
    await page.reload()
    await quantity(page, "coffee", 1)
    assert.isFalse(await page.locator("#seen").isVisible())
    await page.click("#logout")
    await notice(page, "Logged out")
    assert.strictEqual(await page.innerText("#pieces"), "0 pieces")
    assert.isUndefined(await sessionCookie(page))
  })

  visit("fits into any width, and can be read in light and dark", {}, async (page) => {
    const fitsEverywhere = async () => {
      for (const width of [320, 390, 768, 1280]) {
        await page.setViewportSize({ width, height: 800 })
        assert.isAtMost(await page.evaluate(() => document.documentElement.scrollWidth), width)
      }
    }
    await fitsEverywhere()
    await add(page, "coffee")
    await login(page, "A".repeat(40))
    await fitsEverywhere()
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" })
      for (const text of ["h1", ".lede", "#notice", "h2", ".hint", "#logout", "dt", "pre", ".legend li", ".steps p"]) {
        assert.isAtLeast(await contrast(page, text), 4.5, `${text}, ${colorScheme}`)
      }
    }
  })

  visit("is light or dark, as the user likes it", { colorScheme: "light" }, async (page) => {
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
    const light = await background()
    await page.emulateMedia({ colorScheme: "dark" })
    assert.notStrictEqual(await background(), light)
  })
})

/** WCAG 2.2, contrast ratio of a text to what is behind it. */
const contrast = (page: Page, selector: string): Promise<number> =>
  page.locator(selector).first().evaluate((element) => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true })
    if (canvas === null) return Number.NaN
    const luminance = (colors: ReadonlyArray<string>) => {
      for (const color of colors) {
        canvas.fillStyle = color
        canvas.fillRect(0, 0, 1, 1)
      }
      const [red = 0, green = 0, blue = 0] = Array.from(canvas.getImageData(0, 0, 1, 1).data, (value) => {
        const share = value / 255
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
      })
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
    const behind: Array<string> = []
    for (let each: Element | null = element; each !== null; each = each.parentElement) {
      behind.unshift(getComputedStyle(each).backgroundColor)
    }
    const background = luminance(behind)
    const text = luminance([...behind, getComputedStyle(element).color])
    return (Math.max(background, text) + 0.05) / (Math.min(background, text) + 0.05)
  })

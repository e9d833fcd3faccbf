// Nothing here is needed: without it, forms load the page anew, and the clocks stand still until then.

const notice = document.querySelector("#notice")
const panels = document.querySelector("#panels")

// -----------------------------------------------------------------------------
// the clocks
// -----------------------------------------------------------------------------

let shownAt = 0

const tick = () => {
  const elapsed = (performance.now() - shownAt) / 1000
  for (const timer of panels.querySelectorAll(".timer")) {
    const progress = timer.querySelector("progress")
    const left = Math.max(0, progress.dataset.left - elapsed)
    progress.value = left
    timer.querySelector(".clock").textContent = `${Math.floor(left / 60)}:${String(Math.floor(left % 60)).padStart(2, "0")}`
    // The last second is still valid. One request more, and the server says what became of the session.
    if (progress.dataset.left - elapsed < -1.5) {
      shownAt = Infinity
      void load("/")
    }
  }
}

// -----------------------------------------------------------------------------
// the panels
// -----------------------------------------------------------------------------

/** Where the keyboard is: on an element, in a row, in a panel. */
const whereabouts = () => {
  const { activeElement } = document
  return [activeElement, activeElement?.closest("li"), activeElement?.closest("section")].map((element) => element?.id)
}

/** Puts the keyboard back to where it was, or as near as what is left of it allows. */
const comeBack = ([own, row, panel]) => {
  if (!row && !panel) return
  const candidates = [own, `${row} button:enabled`, `${panel} button:enabled`, `${panel}-title`]
  candidates
    .map((selector) => selector && document.querySelector(`#${selector}`))
    .find((element) => element?.matches(":enabled, h2"))
    ?.focus()
}

const dress = () => {
  shownAt = performance.now()
  const seen = document.querySelector("#seen")
  if (seen !== null) seen.textContent = document.cookie === "" ? "nothing: it is HttpOnly" : document.cookie
  tick()
}

const fingerprint = () => document.querySelector("#fingerprint")

const show = (html) => {
  const next = new DOMParser().parseFromString(html, "text/html")
  notice.textContent = next.querySelector("#notice").textContent
  const nextPanels = next.querySelector("#panels")
  if (nextPanels === null) return
  const focused = whereabouts()
  const before = fingerprint()?.textContent
  panels.replaceChildren(...nextPanels.children)
  fingerprint()?.classList.toggle("changed", before !== undefined && before !== fingerprint().textContent)
  comeBack(focused)
  dress()
}

const load = async (url, init) => {
  try {
    const response = await fetch(url, init)
    show(await response.text())
  } catch {
    notice.textContent = "The server does not answer."
  }
}

// One after the other: each request presents the cookie that the one before has brought.
let last = Promise.resolve()

document.addEventListener("submit", (event) => {
  event.preventDefault()
  const { submitter, target } = event
  last = last.then(() => load(target.action, { method: "POST", body: new URLSearchParams(new FormData(target, submitter)) }))
})

// What the last form did is told; a reload should not tell it again.
history.replaceState(null, "", "/")
document.documentElement.classList.add("scripts")
dress()
setInterval(tick, 250)

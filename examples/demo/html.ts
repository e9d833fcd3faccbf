/**
 * HTML as tagged templates. What is put into one is escaped, unless it is `Html`
 * itself.
 */
export class Html {
  readonly source: string

  constructor(source: string) {
    this.source = source
  }
}

export type Child = Html | string | number | false | undefined | ReadonlyArray<Child>

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "\"": "&quot;",
  "'": "&#39;"
}

const escape = (text: string): string => text.replace(/[&<>"']/g, (character) => entities[character] ?? character)

const render = (child: Child): string => {
  if (child instanceof Html) return child.source
  if (typeof child === "object") return child.map(render).join("")
  return child === undefined || child === false ? "" : escape(String(child))
}

/** Attributes need their quotes: `<p title="${text}">`. */
export const html = (strings: TemplateStringsArray, ...children: ReadonlyArray<Child>): Html =>
  new Html(strings.map((string, index) => string + render(children[index])).join(""))

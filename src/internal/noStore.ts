/** RFC 9111, section 5.2.2.5: what a session is told must not become anybody else's answer. */
export const noStore = { "cache-control": "no-store" }

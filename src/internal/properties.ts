/** The `Session-*` headers: properties of a session for other servers and for clients. */
import { Effect, Redacted } from "effect"
import { Base64Url } from "effect/encoding"
import type { Property } from "../SessionConfig.ts"
import type { SessionError } from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import { seconds } from "./clock.ts"
import { type Exchange, headerOf } from "./exchange.ts"
import { entry as entryOf } from "./recording.ts"

/** The header of a property. */
export const nameOf = (property: Property): string => `session-${property}`

/** The headers of a session that stands; none where there is none, and none for a property without value. */
export const headers = (
  self: Exchange,
  audience: string,
  properties: ReadonlyArray<Property>
): Effect.Effect<Record<string, string>, SessionError> =>
  // Asking for nothing must not open the session.
  properties.length === 0 ? Effect.succeed({}) : Effect.flatMap(
    Effect.zip(entryOf(self, audience), seconds),
    ([entry, now]) =>
      Effect.sync(() => {
        const header = headerOf(self, now)
        if (header === undefined || entry === undefined) return {}
        const left = SessionState.timeLeft(header, self.engine.settings, now)
        const values: Record<Property, string | undefined> = {
          // The sid is the reference's, and a bearer secret where a store keeps it in clear. Ours is public.
          "id": self.engine.settings.hashStorageKey
            ? self.opened?.handle
            : self.live && Base64Url.encode(Redacted.value(self.engine.codec.sid(self.live.presented))),
          audience,
          "subject": entry.subject,
          "timeout": left.next?.toString(),
          "idling-timeout": left.idling?.toString(),
          "rolling-timeout": left.rolling?.toString(),
          "absolute-timeout": left.absolute?.toString()
        }
        return Object.fromEntries(properties.flatMap((property) => {
          const value = headerValue(values[property])
          return value === undefined ? [] : [[nameOf(property), value]]
        }))
      })
  )

/** What would end a header, or start another one. */
// oxlint-disable-next-line no-control-regex
const unprintable = /[\u0000-\u001f\u007f]/

const encoder = new TextEncoder()

/** As the references send it, in UTF-8: a header's characters are bytes. None for what no header can carry. */
export const headerValue = (value: string | undefined): string | undefined =>
  value === undefined || unprintable.test(value)
    ? undefined
    : Array.from(encoder.encode(value), (byte) => String.fromCharCode(byte)).join("")

/** The sender of a request, for cookies that are bound to theirs. */
import { Option } from "effect"
import { Flag } from "effect/cli"
import type { Sender } from "../CookieCodec.ts"

export const flags = {
  ip: Flag.String("ip").pipe(
    Flag.withDescription("The client's address, for cookies that `bind` to it"),
    Flag.optional
  ),
  scheme: Flag.Literals("scheme", ["http", "https"]).pipe(
    Flag.withDescription("The request's scheme, for cookies that `bind` to it"),
    Flag.optional
  ),
  userAgent: Flag.String("user-agent").pipe(
    Flag.withDescription("The User-Agent header, for cookies that `bind` to it"),
    Flag.optional
  )
}

interface Flags {
  readonly ip: Option.Option<string>
  readonly scheme: Option.Option<"http" | "https">
  readonly userAgent: Option.Option<string>
}

export const sender = ({ ip, scheme, userAgent }: Flags): Sender => ({
  ip: Option.getOrUndefined(ip),
  scheme: Option.getOrUndefined(scheme),
  userAgent: Option.getOrUndefined(userAgent)
})

/** For `Set-Cookie` and timeouts. */
export const now = Flag.Int("now").pipe(
  Flag.filter((seconds) => seconds >= 0, () => "Expected unix seconds"),
  Flag.withDescription("Answer as of this time, in unix seconds (default: the clock's)"),
  Flag.optional
)

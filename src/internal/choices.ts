/** What settings with a choice of words can be, for all who read them: options, the environment, Kong's and nginx's own. */

export const sameSites = ["Strict", "Lax", "None", "Default"] as const

export const safeties = ["None", "Low", "Medium", "High", "Very High"] as const

/** The `Session-*` headers. */
export const properties = [
  "id",
  "audience",
  "subject",
  "timeout",
  "idling-timeout",
  "rolling-timeout",
  "absolute-timeout"
] as const

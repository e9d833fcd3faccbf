/**
 * Every module under its name: `import { Session } from "effect-session"`.
 *
 * `effect-session/SessionHttpApi` stands apart, since it loads `effect/http-api`.
 *
 * @since 0.1.0
 */

/**
 * Bytes of a session cookie: layout, chunks, MAC, sealed payload, attributes.
 *
 * @since 0.1.0
 */
export * as CookieCodec from "./CookieCodec.ts"

/**
 * The primitives that sessions are made of, behind an interface that can be read
 * at a glance.
 *
 * @since 0.1.0
 */
export * as Crypto from "./Crypto.ts"

/**
 * Kong's session plugin: its settings, its session, and what it does with the
 * authentication of a request, so that a gateway on Effect and a Kong share live
 * sessions.
 *
 * @since 0.1.0
 */
export * as KongSession from "./KongSession.ts"

/**
 * Typed sessions: a class names the data, the handle is what a request does with
 * it.
 *
 * @since 0.1.0
 */
export * as Session from "./Session.ts"

/**
 * Every setting of a session, its default, and the reason for it.
 *
 * @since 0.1.0
 */
export * as SessionConfig from "./SessionConfig.ts"

/**
 * What can go wrong with a session, as types.
 *
 * @since 0.1.0
 */
export * as SessionError from "./SessionError.ts"

/**
 * What happens to sessions, as events: for audit logs, alarms and metrics.
 *
 * @since 0.1.0
 */
export * as SessionEvents from "./SessionEvents.ts"

/**
 * Sessions on an Effect HTTP server: the request phase as router middleware, the
 * response phase as a hook that runs after the handler and before the headers.
 *
 * @since 0.1.0
 */
export * as SessionHttp from "./SessionHttp.ts"

/**
 * Logout by what a request says, before its handler runs: its method together
 * with an argument of its query or its body, as Kong's session plugin has it.
 *
 * @since 0.1.0
 */
export * as SessionLogout from "./SessionLogout.ts"

/**
 * The rules of a session, pure: what a cookie's header, a clock and the changes
 * recorded by a request mean.
 *
 * @since 0.1.0
 */
export * as SessionState from "./SessionState.ts"

/**
 * Where sessions live: in the cookie, or on the server behind a small port.
 *
 * @since 0.1.0
 */
export * as SessionStore from "./SessionStore.ts"

/**
 * Sessions other than the current one: listing those of a user, and ending them.
 *
 * @since 0.1.0
 */
export * as Sessions from "./Sessions.ts"

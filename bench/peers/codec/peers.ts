/** Each library with the calls that a server makes, and its own defaults. */
import secureSession from "@fastify/secure-session"
import { getCookieCache, getCookies, setCookieCache } from "better-auth/cookies"
import cookieSession from "cookie-session"
import type { Request, Response } from "express"
import fastify from "fastify"
import { H3Event, sealSession, unsealSession } from "h3"
import { sealData, unsealData } from "iron-session"
import { EncryptJWT, jwtDecrypt } from "jose"
import nextAuth from "next-auth/jwt"
import { webcrypto } from "node:crypto"
import { each, eachSync } from "../../codec/contender.ts"
import type { Contender } from "../../codec/contender.ts"
import type { Data } from "../../lib/payload.ts"
import { secret } from "../../lib/secret.ts"

const itself = (sealed: string): string => sealed

const withoutClaims = (token: object | null): unknown => {
  const { exp: _exp, iat: _iat, jti: _jti, ...data } = token as { exp?: unknown; iat?: unknown; jti?: unknown }
  return data
}

export const ironSession = async (): Promise<Contender<string, unknown>> => ({
  seal: each((data) => sealData(data, { password: secret })),
  sent: itself,
  open: each((seal) => unsealData(seal, { password: secret })),
  data: (data) => data
})

export const fastifySecureSession = async (): Promise<Contender<string, secureSession.Session | null>> => {
  const app = fastify()
  await app.register(secureSession, { key: Buffer.from(secret) })
  await app.ready()
  return {
    // The library notes the time in what it is given.
    seal: eachSync((data) => app.encodeSecureSession(app.createSecureSession({ ...data }))),
    sent: itself,
    open: eachSync((cookie) => app.decodeSecureSession(cookie)),
    data: (session) => session?.data()
  }
}

export const nextAuthJwt = async (): Promise<Contender<string, object | null>> => ({
  seal: each((data) => nextAuth.encode({ token: { ...data }, secret })),
  sent: itself,
  open: each((token) => nextAuth.decode({ token, secret })),
  data: withoutClaims
})

const joseWith = (
  key: Parameters<EncryptJWT["encrypt"]>[0] & Parameters<typeof jwtDecrypt>[1]
): Contender<string, object> => ({
  seal: each((data) =>
    new EncryptJWT({ ...data }).setProtectedHeader({ alg: "dir", enc: "A256GCM" }).setIssuedAt()
      .setExpirationTime("1h").encrypt(key)
  ),
  sent: itself,
  open: each(async (token) => (await jwtDecrypt(token, key)).payload),
  data: withoutClaims
})

/** As in its documentation; imports the key with each call. */
export const jose = async () => joseWith(Buffer.from(secret))

export const joseImported = async () =>
  joseWith(await webcrypto.subtle.importKey("raw", Buffer.from(secret), "AES-GCM", false, ["encrypt", "decrypt"]))

export const h3 = async (): Promise<Contender<string, { data?: unknown }>> => {
  const config = { password: secret }
  const request = new Request("http://localhost/")
  const event = (data: Data) =>
    new H3Event(request, { sessions: { h3: { id: String(data.id), createdAt: Date.now(), data } } })
  const reading = new H3Event(request)
  return {
    seal: each((data) => sealSession(event(data), config)),
    sent: itself,
    open: each((sealed) => unsealSession(reading, config, sealed)),
    data: ({ data }) => data
  }
}

export const signedCookieSession = async (): Promise<Contender<ReadonlyArray<string>, unknown>> => {
  const middleware = cookieSession({ name: "session", keys: [secret] })
  const handle = <A>(cookie: string | undefined, handler: (request: { session: unknown }) => A) => {
    const setCookies: Array<string> = []
    const request = { headers: { cookie }, connection: {}, session: undefined as unknown }
    const response = {
      getHeader: () => [],
      setHeader: (_name: string, value: ReadonlyArray<string>) => setCookies.push(...value),
      writeHead: () => undefined
    }
    // As much of a request and a response as the middleware looks at, and cheaper than real ones.
    middleware(request as unknown as Request, response as unknown as Response, () => undefined)
    const result = handler(request)
    response.writeHead()
    return { result, setCookies }
  }
  return {
    seal: eachSync((data) =>
      handle(undefined, (request) => {
        request.session = data
      }).setCookies
    ),
    sent: (setCookies) => setCookies.map((cookie) => cookie.split(";")[0]).join("; "),
    open: eachSync((cookie) => handle(cookie, ({ session }) => session).result),
    data: (session) => ({ ...session as object })
  }
}

type Context = Parameters<typeof setCookieCache>[0]

const betterAuth = async (
  strategy: "compact" | "jwe"
): Promise<Contender<ReadonlyArray<readonly [name: string, value: string]>, { session: object } | null>> => {
  const options = {
    secret,
    advanced: { useSecureCookies: false },
    session: { cookieCache: { enabled: true, strategy } }
  }
  const authCookies = getCookies(options)
  const date = new Date()
  const expiresAt = new Date(date.getTime() + 3_600_000)
  // Tells of every session that takes two cookies.
  const logger = { ...console, debug: () => undefined }
  const dated = { createdAt: date, updatedAt: date }
  return {
    // The library wants a user and a session of its own shape around the data.
    seal: each(async (data) => {
      const cookies: Array<readonly [string, string]> = []
      const context = {
        context: { options, authCookies, secret, secretConfig: secret, sessionConfig: {}, logger },
        headers: undefined,
        setCookie: (name: string, value: string) => cookies.push([name, value])
      }
      const id = String(data.id)
      // What a request has of this is more; `setCookieCache` asks for no more.
      await setCookieCache(context as unknown as Context, {
        session: { id, ...dated, userId: id, expiresAt, token: secret, data },
        user: { id, ...dated, email: "user@example.com", emailVerified: true, name: data.user }
      }, false)
      return cookies
    }),
    sent: (cookies) => cookies.map(([name, value]) => `${name}=${value}`).join("; "),
    open: each((cookie) => getCookieCache(new Headers({ cookie }), { secret, strategy, isSecure: false })),
    data: (cached) => (cached?.session as { data?: unknown } | undefined)?.data
  }
}

export const betterAuthSigned = () => betterAuth("compact")
export const betterAuthJwe = () => betterAuth("jwe")

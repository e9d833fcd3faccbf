/** What a declarative file says, with its references followed: what the gateway works on. */
import type { Redacted } from "effect"
import { createHash } from "node:crypto"
import type { BasicAuth, KeyAuth, Termination } from "./schema.ts"

export interface Service {
  readonly protocol: "http" | "https"
  readonly host: string
  readonly port: number
  readonly path: string
  readonly retries: number
  /** These three in milliseconds. */
  readonly connectTimeout: number
  readonly writeTimeout: number
  readonly readTimeout: number
}

export interface Route {
  readonly methods: ReadonlyArray<string>
  readonly hosts: ReadonlyArray<string>
  readonly paths: ReadonlyArray<string>
  readonly stripPath: boolean
  readonly preserveHost: boolean
  readonly service: Service | undefined
}

export interface Consumer {
  readonly id: string
  readonly username: string | undefined
  readonly customId: string | undefined
  /** In the order of the file. */
  readonly groups: ReadonlyArray<string>
}

export interface Credential {
  readonly id: string
  /** What upstream is told of it. */
  readonly identifier: string
  readonly consumer: Consumer
}

export type Plugin =
  /** Decoded by the preset itself; `at` is where it stands in the file. */
  | { readonly name: "session"; readonly config: Readonly<Record<string, unknown>>; readonly at: string }
  | { readonly name: "key-auth"; readonly config: KeyAuth; readonly anonymous: Consumer | undefined }
  | { readonly name: "basic-auth"; readonly config: BasicAuth; readonly anonymous: Consumer | undefined }
  | { readonly name: "request-termination"; readonly config: Termination }

/** A plugin, and what it is limited to; without any limit it is global. */
export interface Placed<P extends Plugin = Plugin> {
  readonly plugin: P
  readonly route: Route | undefined
  readonly service: Service | undefined
  readonly consumer: Consumer | undefined
}

export interface Gateway {
  readonly routes: ReadonlyArray<Route>
  readonly consumers: ReadonlyArray<Consumer>
  /** By `fingerprint` of the key, so that how long a look-up takes says nothing of keys that are nearly right. */
  readonly keys: ReadonlyMap<string, Credential>
  /** By user name. */
  readonly passwords: ReadonlyMap<string, { readonly credential: Credential; readonly password: Redacted.Redacted }>
  readonly plugins: ReadonlyArray<Placed>
}

export const fingerprint = (key: string): string => createHash("sha256").update(key).digest("base64")

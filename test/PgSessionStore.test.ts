import { Layer } from "effect"
import * as PgSessionStore from "../src/PgSessionStore.ts"
import { layerClient, layerDatabase } from "./utils/postgres.ts"
import { storeSuite } from "./utils/storeSuite.ts"

storeSuite(
  "PgSessionStore.layer",
  PgSessionStore.layer.pipe(Layer.provide(layerClient()), Layer.provide(layerDatabase))
)

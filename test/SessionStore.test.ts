import * as SessionStore from "../src/SessionStore.ts"
import { storeSuite } from "./utils/storeSuite.ts"

storeSuite("layerMemory", SessionStore.layerMemory)

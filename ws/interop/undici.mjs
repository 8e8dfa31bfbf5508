// node undici.mjs ws://host/ ws://slow.host/ : the cases of standard.mjs with undici, the client of Node itself.
import { createRequire } from 'node:module'
import { run } from './standard.mjs'

const { WebSocket } = createRequire(process.env.AERYS_INTEROP_NODE_MODULES + '/')('undici')
await run(WebSocket, process.argv[2], process.argv[3], console.log)

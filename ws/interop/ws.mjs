// node ws.mjs ws://host/ ws://slow.host/ : the cases of standard.mjs with ws, and those that only ws can.
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { close, next, open, run, same } from './standard.mjs'

const { WebSocket } = createRequire(process.env.AERYS_INTEROP_NODE_MODULES + '/')('ws')
await run(WebSocket, process.argv[2], process.argv[3], console.log)

for (const path of ['plain', 'compressed', 'fragments']) {
	const socket = await open(WebSocket, process.argv[2] + path)
	const parts = ['in ', '', 'pieces, '.repeat(1000), 'Käse']
	const message = next(socket, 'message')
	const pong = once(socket, 'pong')
	parts.forEach((part, i) => {
		socket.send(part, {fin: i == parts.length - 1})
		if (i == 1) socket.ping('still there?') // between two fragments
	})
	console.log(`${path} sent in fragments: ${same(parts.join(''), (await message).data)}`)
	console.log(`${path} pong: ${await pong}`)
	await close(socket)
}

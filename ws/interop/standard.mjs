// What every client does that has the WebSocket of the HTML standard: browsers,
// undici, and ws. It prints a line for each case.

export async function run(WebSocket, base, slow, print) {
	const quiet = await open(WebSocket, base + 'pinged')
	const answered = next(quiet, 'message') // after a while
	for (const path of ['plain', 'compressed', 'fragments']) {
		const socket = await open(WebSocket, base + path)
		for (const [name, data] of Object.entries(messages)) print(`${path} ${name}: ${await echoes(socket, data)}`)
		print(`${path} many: ${await echoesInOrder(socket, 100)}`)
		if (path == 'plain') print(`plain terms: ${socket.protocol}${socket.extensions}`)
		if (path == 'compressed') print(`compressed terms: ${socket.protocol}, ${socket.extensions.split(';')[0]}, ${await savings(socket)}`)
		print(`${path} end: ${await close(socket, 1000, 'bye')}`)
	}
	await closings(WebSocket, base, print)
	print(`pinged: ${(await answered).data}`)
	await download(WebSocket, slow, print)
	await upload(WebSocket, base, print)
	await closeInAStream(WebSocket, base, print)
	print(`client closes without a code: ${await close(quiet)}`)
}

// download takes half a minute.
async function download(WebSocket, slow, print) {
	const socket = await open(WebSocket, slow + 'download')
	let bytes = 0
	await new Promise((resolve, reject) => {
		socket.addEventListener('message', e => e.data == 'done' ? resolve() : bytes += e.data.byteLength)
		socket.addEventListener('close', e => reject(Error(`${closing(e)} after ${bytes} bytes`)))
		socket.send('go')
	})
	print(`slow download: ${bytes}`)
	await close(socket, 1000)
}

// upload sends more than a server takes of one client in a minute.
async function upload(WebSocket, base, print) {
	const socket = await open(WebSocket, base + 'upload')
	const sums = []
	const all = new Promise(resolve => socket.addEventListener('message', e => { if (sums.push(e.data) == 9) resolve() }))
	for (let i = 0; i < 9; i++) socket.send(new Uint8Array(1 << 20))
	await all
	print(`upload over the rate: ${sums[8]}`)
	await close(socket, 1000)
}

// closeInAStream leaves while the server goes on sending.
async function closeInAStream(WebSocket, base, print) {
	const socket = await open(WebSocket, base + 'stream')
	let tokens = 0
	const enough = new Promise(resolve => socket.addEventListener('message', () => { if (++tokens == 10) resolve() }))
	socket.send('go')
	await enough
	const began = Date.now()
	print(`close in the middle of a stream: ${await close(socket, 1000)}, ${Date.now() - began < 1000 ? 'at once' : `after ${Date.now() - began} ms`}`)
}

async function closings(WebSocket, base, print) {
	for (const [code, reason] of [[1000, ''], [3000, 'Käse'], [4999, 'x'.repeat(123)]]) {
		print(`client closes with ${code}: ${await close(await open(WebSocket, base + 'closed'), code, reason)}`)
	}
	for (const order of ['1000 ', '1011 failed', '3000 Käse', '4999 ' + 'x'.repeat(123)]) {
		const socket = await open(WebSocket, base + 'closed')
		socket.send(order)
		print(`server closes with ${order}: ${closing(await next(socket, 'close'))}`)
	}
}

// noise is a megabyte that cannot be compressed.
function noise() {
	const bytes = new Uint8Array(1 << 20)
	for (let i = 0, state = 1; i < bytes.length; i++) {
		state = (Math.imul(state, 1664525) + 1013904223) >>> 0
		bytes[i] = state >>> 24
	}
	return bytes
}

export const messages = {
	'text': 'Käse, €, 🧀',
	'binary': new Uint8Array([0, 1, 254, 255]),
	'empty text': '',
	'empty binary': new Uint8Array(),
	'1 MiB of text': '0123456789abcde\n'.repeat(1 << 16),
	'1 MiB of noise': noise(),
}

export function open(WebSocket, url) {
	const socket = new WebSocket(url, ['soap', 'chat'])
	socket.binaryType = 'arraybuffer'
	return next(socket, 'open').then(() => socket)
}

// next waits for an event; an end that comes instead is an error.
export function next(socket, type) {
	return new Promise((resolve, reject) => {
		socket.addEventListener(type, resolve, {once: true})
		if (type != 'close') socket.addEventListener('close', e => reject(Error(`${closing(e)} instead of ${type}`)), {once: true})
	})
}

export async function echoes(socket, data) {
	const message = next(socket, 'message')
	socket.send(data)
	return same(data, (await message).data)
}

export function same(sent, received) {
	if (typeof sent == 'string') return sent === received ? 'ok' : `another text: ${String(received).slice(0, 60)}`
	if (!(received instanceof ArrayBuffer)) return `no binary: ${String(received).slice(0, 60)}`
	const bytes = new Uint8Array(received)
	return bytes.length == sent.length && bytes.every((b, i) => b == sent[i]) ? 'ok' : `${bytes.length} other bytes`
}

async function echoesInOrder(socket, n) {
	const received = []
	const all = new Promise(resolve => socket.addEventListener('message', e => { if (received.push(e.data) == n) resolve() }))
	const sent = Array.from({length: n}, (_, i) => `message ${i}`)
	for (const text of sent) socket.send(text)
	await all
	return same(sent.join(), received.join())
}

// savings asks how much of two megabytes, text and noise, the server has read and sent.
async function savings(socket) {
	const message = next(socket, 'message')
	socket.send('traffic')
	const [read, sent] = (await message).data.split(' ')
	return ['saves', ...read < 3 << 19 ? ['reading'] : [], ...sent < 3 << 19 ? ['sending'] : []].join(' ')
}

export async function close(socket, ...how) {
	const end = next(socket, 'close')
	socket.close(...how)
	return closing(await end)
}

const closing = e => `${e.code} ${e.reason} ${e.wasClean ? 'clean' : 'unclean'}`

"""python3 -I websockets.py ws://host/ ws://slow.host/ : the cases of standard.mjs and ws.mjs with Python's websockets.

(-I, because the module has the name of this file.)
"""
import asyncio
import random
import sys
import time

import websockets

MESSAGES = {
    "text": "Käse, €, 🧀",
    "binary": bytes([0, 1, 254, 255]),
    "empty text": "",
    "empty binary": b"",
    "1 MiB of text": "0123456789abcde\n" * (1 << 16),
    "1 MiB of noise": random.Random(1).randbytes(1 << 20),
}


def connect(path, base=sys.argv[1]):
    return websockets.connect(base + path, subprotocols=["soap", "chat"], max_size=1 << 21)


def same(sent, received):
    return "ok" if sent == received else f"other {type(received)}: {received[:60]!r}"


async def echoes(path):
    async with connect(path) as socket:
        for name, data in MESSAGES.items():
            await socket.send(data)
            print(f"{path} {name}: {same(data, await socket.recv())}")
        sent = [f"message {i}" for i in range(100)]
        for text in sent:
            await socket.send(text)
        print(f"{path} many: {same(sent, [await socket.recv() for _ in sent])}")
        if path == "plain":
            print(f"plain terms: {socket.subprotocol}" + "".join(e.name for e in socket.extensions))
        if path == "compressed":
            print(f"compressed terms: {socket.subprotocol}, {socket.extensions[0].name}, {await savings(socket)}")
        await socket.close(1000, "bye")
        print(f"{path} end: {closing(socket)}")


async def savings(socket):
    await socket.send("traffic")
    read, sent = (int(n) < 3 << 19 for n in (await socket.recv()).split())
    return " ".join(["saves"] + ["reading"] * read + ["sending"] * sent)


def closing(socket):
    return f"{socket.close_code} {socket.close_reason} clean"


async def closings():
    for code, reason in (1000, ""), (3000, "Käse"), (4999, "x" * 123):
        async with connect("closed") as socket:
            await socket.close(code, reason)
            print(f"client closes with {code}: {closing(socket)}")
    for order in "1000 ", "1011 failed", "3000 Käse", "4999 " + "x" * 123:
        async with connect("closed") as socket:
            await socket.send(order)
            await socket.wait_closed()
            print(f"server closes with {order}: {closing(socket)}")


async def fragments(path):
    async with connect(path) as socket:
        parts = ["in ", "", "pieces, " * 1000, "Käse"]

        async def pieces():
            for i, part in enumerate(parts):
                if i == 2:  # between two fragments
                    pong = await socket.ping("still there?")
                    await pong
                yield part

        await socket.send(pieces())
        print(f"{path} sent in fragments: {same(''.join(parts), await socket.recv())}")
        print(f"{path} pong: still there?")


async def download():
    """Takes half a minute."""
    async with connect("download", sys.argv[2]) as socket:
        await socket.send("go")
        size = 0
        while (data := await socket.recv()) != "done":
            size += len(data)
        print(f"slow download: {size}")


async def upload():
    """Sends more than a server takes of one client in a minute."""
    async with connect("upload") as socket:
        for _ in range(9):
            await socket.send(bytes(1 << 20))
        sums = [await socket.recv() for _ in range(9)]
        print(f"upload over the rate: {sums[8]}")


async def close_in_a_stream():
    """Leaves while the server goes on sending."""
    async with connect("stream") as socket:
        await socket.send("go")
        for _ in range(10):
            await socket.recv()
        began = time.monotonic()
        await socket.close(1000)
        took = time.monotonic() - began
        print(f"close in the middle of a stream: {closing(socket)}, {'at once' if took < 1 else f'after {took:.1f} s'}")


async def main():
    paths = "plain", "compressed", "fragments"
    async with connect("pinged") as quiet:
        for path in paths:
            await echoes(path)
        await closings()
        print("pinged:", await quiet.recv())
        await download()
        await upload()
        await close_in_a_stream()
    for path in paths:
        await fragments(path)

asyncio.run(main())

"""Many clients at once, for a while: `python bench/soak.py [SECONDS]`.

64 connections with 64 requests in flight each, of mixed sizes, every byte compared with the image
that `vfloppy build` writes. Prints requests, bytes and errors; status 1 if there were any.
"""

from __future__ import annotations

import argparse
import mmap
import os
import random
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import time
from multiprocessing import Pool
from pathlib import Path
from typing import NamedTuple

from measure import converse
from trees import gibibytes

CONNECTIONS, IN_FLIGHT, PROCESSES = 64, 64, 4
SIZES = (1, 512, 4096, 4096, 4096, 16_384, 65_536, 262_144)
REQUEST = struct.Struct(">IHHQQI")
REPLY = struct.Struct(">IIQ")


class Tally(NamedTuple):
    """What a process saw."""

    requests: int
    bytes: int
    wrong: int


class Client:
    """One connection that always has so many requests on their way."""

    def __init__(self, path: str, image: mmap.mmap, seed: int) -> None:
        self.image = image
        self.random = random.Random(seed)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        converse(self.socket)
        self.asked: dict[int, tuple[int, int]] = {}
        self.next_cookie = 0
        self.buffer = bytearray()
        self.requests = self.bytes = self.wrong = 0
        self.ask(IN_FLIGHT)

    def ask(self, count: int) -> None:
        """Sends so many requests for places anywhere."""
        stream = bytearray()
        for _ in range(count):
            length = self.random.choice(SIZES)
            offset = self.random.randrange(len(self.image) - length)
            self.asked[self.next_cookie] = offset, length
            stream += REQUEST.pack(0x25609513, 0, 0, self.next_cookie, offset, length)
            self.next_cookie += 1
        self.socket.sendall(stream)

    def hear(self) -> int:
        """Reads what has come, compares it, and returns how many requests it answered."""
        self.buffer += self.socket.recv(1 << 20)
        answered = start = 0
        while len(self.buffer) - start >= REPLY.size:
            _, error, cookie = REPLY.unpack_from(self.buffer, start)
            offset, length = self.asked[cookie]
            end = start + REPLY.size + (0 if error else length)
            if len(self.buffer) < end:
                break
            data = self.buffer[start + REPLY.size : end]
            self.wrong += bool(error) or data != self.image[offset : offset + length]
            del self.asked[cookie]
            start, answered = end, answered + 1
            self.bytes += length
        del self.buffer[:start]
        self.requests += answered
        return answered


def hammer(path: str, image_path: str, seed: int, seconds: float) -> Tally:
    """One process's share of the connections."""
    with open(image_path, "rb") as file:
        image = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    clients = [Client(path, image, seed + n) for n in range(CONNECTIONS // PROCESSES)]
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
        while any(client.asked for client in clients):
            for key, _ in selector.select(10):
                answered = key.data.hear()
                if answered and time.monotonic() < end:
                    key.data.ask(answered)
    return Tally(*(sum(getattr(each, name) for each in clients) for name in Tally._fields))


def main() -> int:
    """Makes a tree, serves it, and lets them loose on it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seconds", type=float, nargs="?", default=60)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="vfloppy-soak-") as folder:
        tree, image, path = Path(folder, "tree"), f"{folder}/image", f"{folder}/socket"
        tree.mkdir()
        gibibytes(tree)
        run = [sys.executable, "-m", "vfloppy"]
        subprocess.run([*run, "build", "-q", str(tree), image], check=True, cwd="/")
        serve = [*run, "serve", "-q", "-U", path, str(tree)]
        with subprocess.Popen(serve, cwd="/") as server:
            while not os.path.exists(path):
                time.sleep(0.01)
            with Pool(PROCESSES) as pool:
                work = [(path, image, seed * 1000, seconds) for seed in range(PROCESSES)]
                tallies = pool.starmap(hammer, work)
            server.terminate()
    requests, total, wrong = (sum(each) for each in zip(*tallies, strict=True))
    print(
        f"{CONNECTIONS} connections, {IN_FLIGHT} in flight, {seconds:g} s: {requests:,} requests, "
        f"{total / 1e9:.1f} GB, {wrong} wrong"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

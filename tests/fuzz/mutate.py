"""Mutations of files, the same for the same seed."""

from __future__ import annotations

import random
import struct
import zlib

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40)
NUMBERS += ((1 << 63) - 1, (1 << 64) - 1)


def mutated(data: bytes, other: bytes, seed: int) -> bytes:
    """One to six changes of `data`; `other` is a file of the same readers to take parts from."""
    rng = random.Random(seed)
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        if not changed:
            break
        rng.choice(_CHANGES)(changed, other, rng)
    return _with_checksums(changed) if rng.random() < 0.8 else bytes(changed)


def _place(data: bytearray, rng: random.Random) -> int:
    """A place in the file: headers and tables of contents are at the ends, and matter most."""
    where = rng.random()
    if where < 0.5:
        return rng.randrange(min(len(data), 600))
    if where < 0.65:
        return len(data) - 1 - rng.randrange(min(len(data), 600))
    return rng.randrange(len(data))


def _bit(data: bytearray, other: bytes, rng: random.Random) -> None:
    data[_place(data, rng)] ^= 1 << rng.randrange(8)


def _byte(data: bytearray, other: bytes, rng: random.Random) -> None:
    data[_place(data, rng)] = rng.randrange(256)


def _number(data: bytearray, other: bytes, rng: random.Random) -> None:
    size = rng.choice((1, 2, 4, 8))
    value = rng.choice(NUMBERS) & ((1 << 8 * size) - 1)
    place = _place(data, rng)
    data[place : place + size] = value.to_bytes(size, rng.choice(("little", "big")))


def _truncate(data: bytearray, other: bytes, rng: random.Random) -> None:
    del data[_place(data, rng) :]


def _drop(data: bytearray, other: bytes, rng: random.Random) -> None:
    place = _place(data, rng)
    del data[place : place + rng.choice((1, 2, 4, 16, 200))]


def _repeat(data: bytearray, other: bytes, rng: random.Random) -> None:
    place = _place(data, rng)
    part = data[place : place + rng.choice((1, 4, 20, 200))]
    data[place:place] = part * rng.choice((1, 1, 2, 50))


def _splice(data: bytearray, other: bytes, rng: random.Random) -> None:
    if other:
        start, length = rng.randrange(len(other)), rng.choice((4, 30, 400))
        place = _place(data, rng)
        data[place : place + rng.choice((0, length))] = other[start : start + length]


def _digits(data: bytearray, other: bytes, rng: random.Random) -> None:
    """Another number in text, as JSON and XML have them."""
    places = [i for i, byte in enumerate(data[:20_000]) if 48 <= byte <= 57]
    if places:
        place = rng.choice(places)
        data[place : place + 1] = str(rng.choice((0, 7, 99999999, -1, 10**30))).encode()


_CHANGES = (_bit, _byte, _byte, _number, _number, _truncate, _drop, _repeat, _splice, _digits)


def _with_checksums(data: bytearray) -> bytes:
    """PNG chunks with right checksums, so that what is behind them is reached."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return bytes(data)
    place = 8
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        end = place + 8 + length
        if end + 4 > len(data):
            break
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[place + 4 : end]))
        place = end + 4
    return bytes(data)

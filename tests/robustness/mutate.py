"""Damage: what a bad disk, a cut download or a spiteful stranger makes of a file, drawn from a seed."""

import json
import re
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

NUMBERS = (
    *("-1", "0", "1", "2", "3.5", "-0.0", "1e308", "-1e308", "1e-320", "nan", "inf", "-inf", "NaN", "Infinity"),
    *("65536", "2147483647", "4294967295", "99999999999", "9223372036854775808", "-2147483648", "7" * 400, "0x7f"),
)
VALUES = (None, True, -1, 0, 1.5, 1e308, 10**12, 10**30, "", "x", [], {}, [[]], {"x": None}, [1, "two"])
FIELDS = (0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
DEEP = (b"[" * 100_000, b'{"a":' * 100_000, b"- " * 50_000, b"(" * 100_000)


def flip(data: bytearray, draw: Random) -> None:
    for _ in range(draw.choice((1, 1, 4))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def flip_early(data: bytearray, draw: Random) -> None:
    data[draw.randrange(min(len(data), 300))] ^= 1 << draw.randrange(8)


def cut(data: bytearray, draw: Random) -> None:
    del data[draw.randrange(len(data)) :]


def insert(data: bytearray, draw: Random) -> None:
    place = draw.randrange(len(data) + 1)
    data[place:place] = draw.randbytes(draw.choice((1, 7, 64, 4096)))


def remove(data: bytearray, draw: Random) -> None:
    start, end = _block(data, draw)
    del data[start:end]


def duplicate(data: bytearray, draw: Random) -> None:
    start, end = _block(data, draw)
    data[end:end] = data[start:end]


def swap(data: bytearray, draw: Random) -> None:
    size = draw.randint(1, max(len(data) // 4, 1))
    first, second = (draw.randrange(max(len(data) - size, 1)) for _ in range(2))
    data[first : first + size], data[second : second + size] = (
        data[second : second + size],
        data[first : first + size],
    )


def zero(data: bytearray, draw: Random) -> None:
    start, end = _block(data, draw)
    data[start:end] = bytes(end - start)


def empty(data: bytearray, draw: Random) -> None:
    data.clear()


def field(data: bytearray, draw: Random) -> None:
    """A count, an offset or a number, as binary headers have them, becomes one that nobody would write."""
    order, kind = draw.choice("<>"), draw.choice("IQfd")
    size = struct.calcsize(kind)
    if kind in "fd":
        value = struct.pack(order + kind, draw.choice((float("nan"), float("inf"), -1.0, 1e30, 1e-40)))
    else:
        value = struct.pack(order + kind, draw.choice(FIELDS) % 2 ** (8 * size))
    place = draw.randrange(min(len(data), 700))
    data[place : place + size] = value


def number(data: bytearray, draw: Random) -> None:
    """A number of a text, or of the text at the start of a binary file, becomes another."""
    found = [match.span() for match in re.finditer(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?", data[:20_000])]
    if not found:
        flip(data, draw)
        return
    start, end = draw.choice(found)
    data[start:end] = draw.choice(NUMBERS).encode()


def line(data: bytearray, draw: Random) -> None:
    """A line of a text is lost, doubled, put elsewhere or cut."""
    lines = bytes(data).splitlines(keepends=True)
    place = draw.randrange(len(lines))
    what = draw.choice(("lose", "double", "move", "cut"))
    taken = lines.pop(place)
    if what == "double":
        lines[place:place] = [taken, taken]
    elif what == "move":
        lines.insert(draw.randrange(len(lines) + 1), taken)
    elif what == "cut":
        lines.insert(place, taken[: len(taken) // 2])
    data[:] = b"".join(lines)


def deep(data: bytearray, draw: Random) -> None:
    """Brackets without end, in the place of everything or of something."""
    place = draw.choice((0, draw.randrange(len(data) + 1)))
    data[place:] = draw.choice(DEEP)


def wrong_type(data: bytearray, draw: Random) -> None:
    """A value of a JSON becomes one of another type, or goes."""
    try:
        held = json.loads(bytes(data))
    except (ValueError, RecursionError):
        number(data, draw)
        return
    places = list(_places(held))
    if not places:
        data[:] = json.dumps(draw.choice(VALUES)).encode()
        return
    parent, key = draw.choice(places)
    if draw.random() < 0.25:
        del parent[key]
    else:
        parent[key] = draw.choice(VALUES)
    data[:] = json.dumps(held).encode()


BINARY = (flip, flip, flip_early, cut, insert, remove, duplicate, swap, zero, empty, field, field, number)
TEXT = (flip, cut, insert, remove, duplicate, empty, number, number, line, line, deep, wrong_type, wrong_type)


def mutate(data: bytes, draw: Random, others: Sequence[bytes]) -> tuple[str, bytes]:
    """Damage a file in one way, sometimes in two.

    Args:
        data: The whole file.
        draw: Decides how.
        others: Contents of other kinds of files; one of them may come under this one's name.

    Returns:
        What was done, and the damaged content; never the content as it was.
    """
    ways: tuple[Callable[[bytearray, Random], None], ...] = TEXT if _is_text(data) else BINARY
    while True:
        if draw.random() < 0.04:
            name, content = "other", draw.choice(others)
        else:
            chosen = draw.choices(ways, k=draw.choice((1, 1, 1, 2)))
            held = bytearray(data)
            for way in chosen:
                if held:
                    way(held, draw)
            name, content = "+".join(way.__name__ for way in chosen), bytes(held)
        if content != data:
            return name, content


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode("utf-8")
    except UnicodeDecodeError:
        return False


def _block(data: bytearray, draw: Random) -> tuple[int, int]:
    start = draw.randrange(len(data))
    return start, min(len(data), start + draw.choice((1, 8, 100, len(data) // 3 + 1)))


def _places(held: Any) -> Any:
    """Every (container, key) of a JSON value."""
    if isinstance(held, dict | list):
        for key, value in held.items() if isinstance(held, dict) else enumerate(held):
            yield held, key
            yield from _places(value)

"""What a pickle would build, worked out without building it.

A pickle is a program for a small machine with a stack and a memo. `scan` runs that program on
stand-ins: it obeys each instruction, but makes no object, and so learns what the real unpickler
would do. A few hundred bytes can ask for a tuple nested a million deep (whose hash overflows the C
stack), for a tuple of 2⁴⁵ parts that share each other (whose hash never ends), or for copies of
one large string that fill the memory. Such programs are refused here, before any is run.

The limits hold for every operation that later code may apply to what was read (hash, repr, ==,
flattening), because they bound the tree that such an operation walks: its depth, and its size with
all sharing unfolded. A structure that contains itself has no such tree and is refused.
"""

from __future__ import annotations

import os
import pickletools
from collections.abc import Sequence
from typing import Any, BinaryIO

from wplus.errors import FormatError

MAX_INSTRUCTIONS = 4_000_000  # a published checkpoint has some ten thousand
MAX_CONTAINERS = 400_000  # of which these, which take time to count; it has a few thousand
MAX_DEPTH = 200  # nested containers; a pickled network has about 40
MAX_TREE = 4_000_000  # objects, each counted as often as it is reached
MAX_KEY = 64  # objects in one key of a table
MAX_ODD_KEYS = 10_000  # keys that are neither text nor small numbers: their hashes can be chosen
COPIES = 4  # calls may copy that often what the file holds, …
SPARE = 64 << 20  # … and that many bytes more

_CONSTANTS = frozenset(["NONE", "NEWTRUE", "NEWFALSE", "BINFLOAT", "BYTEARRAY8"])
_CONSTANTS |= {f"BININT{size}" for size in ("", "1", "2")} | {"INT", "LONG", "LONG1", "LONG4"}
_CONSTANTS |= {f"{size}BINSTRING" for size in ("", "SHORT_")}
_CONSTANTS |= {f"SHORT_BIN{kind}" for kind in ("UNICODE", "BYTES")}
_CONSTANTS |= {f"BIN{kind}{size}" for kind in ("UNICODE", "BYTES") for size in ("", "8")}
_EMPTY = {"EMPTY_TUPLE": "tuple", "EMPTY_LIST": "list", "EMPTY_DICT": "dict", "EMPTY_SET": "set"}
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NOTHING = frozenset(["PROTO", "FRAME", "STOP"])


class _Value:
    """A stand-in for an object: what kind it is, what it holds, and its size if it is text."""

    __slots__ = ("depth", "items", "kind", "nbytes", "tree")

    def __init__(self, kind: str, items: Sequence[_Value] = (), nbytes: int = 0) -> None:
        self.kind, self.items, self.nbytes = kind, list(items) if kind != "plain" else (), nbytes
        self.depth = self.tree = 1 if kind in ("plain", "long") else 0  # 0: not yet counted


_PLAIN = _Value("plain")


def scan(stream: BinaryIO) -> None:
    """Check the pickle that starts where `stream` stands, and leave the stream behind it.

    Raises:
        FormatError: the pickle is truncated or malformed, uses instructions that no pickler of
            protocol 2 to 5 writes, or builds something beyond the limits above.
    """
    here = stream.tell()
    stream.seek(0, os.SEEK_END)
    machine = _Machine(stream.tell())
    stream.seek(here)
    try:
        for number, (instruction, argument, _) in enumerate(pickletools.genops(stream)):
            if number > MAX_INSTRUCTIONS:
                raise _excess("has too many instructions")
            machine.step(instruction.name, argument, number)
    except (IndexError, KeyError, AttributeError):  # an empty stack or memo
        raise FormatError("is damaged: its instructions make no sense") from None
    machine.check()


class _Machine:
    """The stack and memo of the unpickler, of stand-ins."""

    def __init__(self, size: int) -> None:
        self.stack: list[_Value] = []
        self.marks: list[int] = []
        self.memo: dict[int, _Value] = {}
        self.containers: list[_Value] = []
        self.copied, self.allowance = 0, COPIES * size + SPARE

    def step(self, name: str, argument: Any, number: int) -> None:
        """Obey one instruction."""
        if name in _CONSTANTS:
            self.stack.append(_constant(argument))
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            index = len(self.memo) if argument is None else argument
            if index > number:  # picklers number what they remember one by one
                raise _excess("has a memo with gaps")
            self.memo[index] = self.stack[-1]
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name in _EMPTY:
            self._push(_EMPTY[name], ())
        elif name in _SHORT_TUPLES:
            self._push("tuple", self._pop(_SHORT_TUPLES[name]))
        elif name in ("TUPLE", "FROZENSET"):
            self._push("tuple" if name == "TUPLE" else "set", self._pop_to_mark())
        elif name in ("APPEND", "SETITEM"):
            self._extend(self._pop(1 if name == "APPEND" else 2))
        elif name in ("APPENDS", "SETITEMS", "ADDITEMS"):
            self._extend(self._pop_to_mark())
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            self._pop(2 if name == "STACK_GLOBAL" else 0)
            self._push("name", ())
        elif name in ("REDUCE", "NEWOBJ", "NEWOBJ_EX"):
            made = self._pop(3 if name == "NEWOBJ_EX" else 2)[1:]
            self._charge(made)
            self._push("object", made)
        elif name == "BUILD":
            state = self._pop(1)
            self._charge(state)
            self._extend(state)
        elif name == "BINPERSID":
            self._push("object", self._pop(1))
        elif name == "POP":
            # At a mark, it takes the mark away.
            if self.marks and self.marks[-1] == len(self.stack):
                self.marks.pop()
            else:
                self._pop(1)
        elif name == "POP_MARK":
            self._pop_to_mark()
        elif name not in _NOTHING:
            raise FormatError(f"is damaged or unsafe: it has the instruction {name}")

    def _push(self, kind: str, items: Sequence[_Value]) -> None:
        value = _Value(kind, items)
        self.containers.append(value)
        if len(self.containers) > MAX_CONTAINERS:
            raise _excess("makes too many objects")
        self.stack.append(value)

    def _pop(self, count: int) -> list[_Value]:
        start = len(self.stack) - count
        if start < (self.marks[-1] if self.marks else 0):
            raise IndexError
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def _pop_to_mark(self) -> list[_Value]:
        start = self.marks.pop()
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def _extend(self, items: Sequence[_Value]) -> None:
        self.stack[-1].items.extend(items)  # type: ignore[union-attr] # a constant has none

    def _charge(self, arguments: Sequence[_Value]) -> None:
        """A call may copy its arguments, and the containers among them."""
        for value in arguments:
            self.copied += 64 + value.nbytes
            self.copied += sum(64 + item.nbytes + 64 * len(item.items) for item in value.items)
        if self.copied > self.allowance:
            raise _excess("copies its own content too often")

    def check(self) -> None:
        """Bound the tree under every container, and the keys of every table."""
        for container in self.containers:
            if not container.tree:
                _count(container)
        odd = 0
        for container in self.containers:
            if container.kind not in ("dict", "set"):
                continue
            for key in container.items[:: 2 if container.kind == "dict" else 1]:
                odd += key.kind != "plain"
                if key.tree > MAX_KEY or odd > MAX_ODD_KEYS:
                    raise _excess("has keys that take long to compare")


def _constant(argument: Any) -> _Value:
    if isinstance(argument, str | bytes | bytearray):
        return _Value("plain", nbytes=len(argument))
    # The hash of a number is its remainder, so that larger ones can be chosen to collide.
    if isinstance(argument, int) and abs(argument) >= 1 << 60:
        return _Value("long", nbytes=argument.bit_length() // 8)
    return _PLAIN


def _count(root: _Value) -> None:
    """Fill in `depth` and `tree` of a container and of everything in it."""
    path: list[tuple[_Value, int]] = [(root, 0)]
    root.tree = -1  # under way: who meets it again has found a circle
    while path:
        value, index = path.pop()
        items = value.items
        while index < len(items) and items[index].tree > 0:
            index += 1
        if index == len(items):
            value.depth = 1 + max((item.depth for item in items), default=0)
            value.tree = 1 + sum(item.tree for item in items)
            if value.depth > MAX_DEPTH:
                raise _excess(f"is nested more than {MAX_DEPTH} deep")
            if value.tree > MAX_TREE:
                raise _excess("repeats its own parts too often")
        elif items[index].tree < 0:
            raise _excess("contains itself")
        else:
            items[index].tree = -1
            path += [(value, index), (items[index], 0)]


def _excess(reason: str) -> FormatError:
    return FormatError(f"is damaged, or made to exhaust the machine: it {reason}")

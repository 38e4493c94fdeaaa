"""Reads the pickles of released point-cloud data (.dat, .pkl) without running anything that they say.

A pickle is a program for a small machine. Here the machine is Python's own, less all that could run something: a name
stays a name, and what may be made by name are numpy's arrays, numbers and types. What it builds cannot outgrow its
file either: a few lists that hold each other stand for billions of elements.
"""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pcclora.data.readers.files import unreadable
from pcclora.errors import PccloraError
from pcclora.limits import check_unfolding
from pcclora.paths import check_regular

MOST_DEEP = 50
"""Lists within lists that a file may have."""
HARMLESS = 1_000_000
"""Elements that a file may hold whatever its size: one list may be named for every sample."""
LEFT_OUT = (
    *(pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET),  # what they hold is hashed, without end if it is nested
    *(pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX),
    *(pickle.PERSID, pickle.BINPERSID, pickle.EXT1, pickle.EXT2, pickle.EXT4),
    *(pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
)


def load_pickle(path: Path) -> Any:
    """Read a pickle of dicts, lists, tuples, numpy arrays and scalars, whole numbers and strings.

    Args:
        path: The file.

    Raises:
        PccloraError: If it is absent or damaged, names anything else (a pickle can run any program, this does not), or
            stands for far more than it holds.
    """
    check_regular(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            content = _Unpickler(file, size).load()
        _check_extent(content, max(HARMLESS, size))
    except PccloraError as error:
        raise PccloraError(
            f"{path}: refused, {error}; a data file has no reason to, get it from another source"
        ) from error
    except Exception as error:  # a damaged pickle raises anything
        raise unreadable(path, error) from error
    return content


def _check_extent(content: Any, most: int) -> None:
    """Refuse content of more elements than ``most``, counting each as often as it is reached, or nested too deeply."""
    elements, left = 0, [(content, 0)]
    while left:
        value, depth = left.pop()
        inside = _inside(value)
        elements += 1 + len(inside) + (value.size if isinstance(value, np.ndarray) else 0)
        if elements > most:
            raise PccloraError(f"it holds the same over and over: more than {most:,} elements")
        if inside and depth == MOST_DEEP:
            raise PccloraError(f"it is nested more than {MOST_DEEP} times")
        left += [(each, depth + 1) for each in inside if isinstance(each, list | tuple | dict | np.ndarray)]


def _inside(value: Any) -> list[Any] | tuple[Any, ...]:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, np.ndarray):
        return value.ravel().tolist() if value.dtype.hasobject else []
    return value if isinstance(value, list | tuple) else []


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":  # others make more of less
        raise PccloraError(f"it wants to encode in {encoding[:40]!r}")
    return text.encode("latin1")  # how bytes are written in protocols before 3


def _no_bytes() -> bytes:
    return b""


def _dtype(code: str, align: bool = False, copy: bool = False) -> np.dtype[Any]:
    if not isinstance(code, str):
        raise PccloraError("it has a type made of types")
    return np.dtype(code, copy=True)  # its state follows, and must not change numpy's own


def _empty(kind: str, shape: tuple[int, ...], code: bytes) -> np.ndarray:
    return np.empty(0, "b")  # whatever it asks for: shape, type and content follow as its state


def _scalar(kind: np.dtype[Any], content: bytes) -> Any:
    return _array(content, kind, (1,), "C")[0]


def _array(content: bytes, kind: np.dtype[Any], shape: tuple[int, ...], order: str) -> np.ndarray:
    if not isinstance(kind, np.dtype) or not isinstance(content, bytes | bytearray):
        raise PccloraError("it has an array that is not bytes of a type")
    return np.frombuffer(content, kind).reshape(shape, order="F" if order == "F" else "C")


# What numpy's arrays and scalars name in a pickle, under its module names before and since numpy 2.
_NUMPYS: dict[str, Callable[..., Any]] = {
    "multiarray._reconstruct": _empty,
    "multiarray.scalar": _scalar,
    "numeric._frombuffer": _array,
}
_MAKERS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": _dtype,
    "_codecs.encode": _encode,
    "__builtin__.bytes": _no_bytes,
    **{f"numpy.core.{name}": maker for name, maker in _NUMPYS.items()},
    **{f"numpy._core.{name}": maker for name, maker in _NUMPYS.items()},
}
_NAMES = {*_MAKERS, "numpy.ndarray"}


_Machine: Any = pickle._Unpickler  # type: ignore[attr-defined]  # typeshed has the one in C alone


class _Unpickler(_Machine):  # type: ignore[misc]
    """Python's machine in Python: the one in C takes memory for what is declared, and hashes what has no end."""

    dispatch: ClassVar = {code: load for code, load in _Machine.dispatch.items() if bytes([code]) not in LEFT_OUT}

    def __init__(self, file: Any, size: int) -> None:
        super().__init__(file)
        self._size, self._taken = size, 0
        self._unfinished: dict[int, Any] = {}  # by id: arrays and types whose state has not come yet

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _NAMES:
            raise PccloraError(f"it wants to run {module}.{name}")
        return f"{module}.{name}"

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        name = self.stack[-1]
        if not isinstance(name, str) or name not in _MAKERS:
            raise PccloraError(f"it wants to run a {type(name).__name__}")
        self._refuse_unfinished(arguments)
        self.stack[-1] = made = _MAKERS[name](*arguments)
        if name.endswith(("dtype", "_reconstruct")):
            self._unfinished[id(made)] = made
        self._count(made)

    def _build(self) -> None:
        state, value = self.stack.pop(), self.stack[-1]
        if self._unfinished.pop(id(value), None) is None:  # what is in use already must not change under it
            raise PccloraError(f"it wants to change a {type(value).__name__}")
        self._refuse_unfinished(state)
        value.__setstate__(_byte_order(value, state) if isinstance(value, np.dtype) else state)
        self._count(value)

    def _refuse_unfinished(self, parts: tuple[Any, ...]) -> None:
        if any(id(part) in self._unfinished for part in parts):
            raise PccloraError("it uses what is not finished")

    def _count(self, made: Any) -> None:
        sized = isinstance(made, np.ndarray | np.generic)
        self._taken += made.nbytes if sized else len(made) if isinstance(made, bytes) else 0
        check_unfolding(self._taken, self._size, "what it makes")

    def _bytearray(self) -> None:
        length = int.from_bytes(self.read(8), "little")
        check_unfolding(length, self._size, "an array")
        self.append(bytearray(self.read(length)))

    def _set_items(self) -> None:
        items = self.pop_mark()
        self.stack[-1].update(_named(items))

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.stack[-1].update(_named([key, value]))

    def _make_dict(self) -> None:
        made = _named(self.pop_mark())  # first, for it changes where append goes
        self.append(made)

    dispatch |= {
        pickle.REDUCE[0]: _reduce,
        pickle.BUILD[0]: _build,
        pickle.BYTEARRAY8[0]: _bytearray,
        pickle.SETITEMS[0]: _set_items,
        pickle.SETITEM[0]: _set_item,
        pickle.DICT[0]: _make_dict,
    }


def _byte_order(kind: np.dtype[Any], state: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a state with the byte order that a type is given, and else its own: numpy believes any size and flag."""
    if len(state) > 8 or any(part is not None for part in state[2:5]):
        raise PccloraError("it has a type made of types")
    order = "|" if kind.byteorder == "|" else state[1]
    sizes = (kind.itemsize, kind.alignment) if kind.kind in "SUV" else (-1, -1)
    return (3, order, None, None, None, *sizes, kind.flags)


def _named(items: list[Any]) -> dict[Any, Any]:
    for key in items[::2]:
        if not isinstance(key, str | int | np.generic):
            raise PccloraError(f"it has a {type(key).__name__} for a name")
    return dict(zip(items[::2], items[1::2], strict=True))

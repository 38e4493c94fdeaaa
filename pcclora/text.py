"""Names that come from outside, as files and classes do, made fit to be shown: on a terminal, in pictures, in tables.

Whoever can name a file can write into what shows the name: an escape sequence clears a terminal or colours a log, a
leading ``=`` is a formula in a spreadsheet. Names stay as they are in files that are read again; these are for eyes.
"""

import unicodedata

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def visible(text: str, *, lines: bool = False) -> str:
    r"""Return a text in which every character that a terminal would obey is written out, as ``\x1b``.

    Args:
        text: Any; also one with bytes of a file name that are not UTF-8.
        lines: Leave line breaks and tabulators as they are: for whole messages, not for single names.
    """
    if text.isascii() and text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(c if c in kept or unicodedata.category(c) not in _HIDDEN else _escaped(c) for c in text)


# control characters, those that turn the direction of writing, lone halves of a character, line separators
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def short(name: str, length: int) -> str:
    """Return a name of at most ``length`` letters, none of which breaks a line or turns the direction of writing."""
    shown = visible(name)
    return shown if len(shown) <= length else shown[: length - 1] + "…"


def tail(path: str, length: int) -> str:
    """Return the last letters of a path, of which the end tells it from others; at most ``length`` of them."""
    shown = visible(path)
    return shown if len(shown) <= length else "…" + shown[1 - length :]


def csv_cell(text: str) -> str:
    """Return a name as a cell of a CSV file: visible, and never a formula to a spreadsheet.

    A number is no formula, whatever its sign.
    """
    shown = visible(text)
    if not shown.startswith(_FORMULA):
        return shown
    try:
        float(shown)
    except ValueError:
        return f"'{shown}"
    return shown


def first_line(error: BaseException, *, kind: bool = True) -> str:
    """Return the first line of what an error of another library says, for a place in a sentence of ours.

    Args:
        error: Its words may be many lines, or none.
        kind: Begin with what kind of error it is.
    """
    said, name = str(error).strip(), type(error).__name__
    if not said:
        return name
    return (f"{name}: " if kind else "") + said.splitlines()[0]


def same_name(text: str) -> str:
    """Return the form of a name in which two spellings of it are equal: NFC, as most systems but macOS write names."""
    return unicodedata.normalize("NFC", text)

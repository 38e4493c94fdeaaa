"""YAML in which a name stays the word that was written: ``007``, ``on``, ``1e3``, ``null``.

YAML says of a bare word what it is before anybody has asked for a number: 007 is 7, ``no`` is False, ``1:30`` is 90.
Here both are kept, and who knows what is wanted takes one of them. Only plain data are read: no tags, no key twice, and
no more of it than a person writes.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pcclora.errors import PccloraError
from pcclora.paths import is_file

LARGEST_FILE = 2**20
MOST_VALUES = 100_000
DEEPEST = 50

_TAG = "tag:yaml.org,2002:"
_KINDS = tuple(_TAG + kind for kind in ("int", "float", "bool", "null"))
_RESOLVERS = {
    first: [(tag, pattern) for tag, pattern in held if tag in _KINDS]
    for first, held in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_EXPONENT = re.compile(r"^[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$")
"""A float of YAML 1.2; 1.1, which the library reads, takes 1e-3 for a word."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = _RESOLVERS


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers = _RESOLVERS  # quotes what would be read as something else

    def ignore_aliases(self, data: object) -> bool:
        """Write a list that is used twice, twice."""
        return True


_Loader.add_implicit_resolver(_TAG + "float", _EXPONENT, list("-+.0123456789"))
_Dumper.add_implicit_resolver(_TAG + "float", _EXPONENT, list("-+.0123456789"))


@dataclass(frozen=True)
class Written:
    """What is more than a word to YAML, or less.

    Attributes:
        value: What YAML makes of it: a number, a truth value, None; of ``key=value`` also a mapping, a list, a word, or
            the :class:`PccloraError` that it is no YAML.
        text: How it was written.
    """

    value: Any
    text: str


def read_tree(file: str | Path) -> dict[str, Any]:
    """Read a file that holds a mapping.

    Returns:
        Mappings and lists of words and :class:`Written` values.

    Raises:
        PccloraError: If the file is absent, too large, no YAML of plain data, or no mapping.
    """
    path = Path(file)
    if not is_file(path):
        raise PccloraError(f"{path}: no such file")
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise PccloraError(f"{path.stat().st_size:,} bytes; settings have at most {LARGEST_FILE:,}")
        tree = _parse(path.read_bytes())
    except (PccloraError, OSError) as error:
        raise PccloraError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(tree, dict):
        raise PccloraError(f"{path}: a mapping of keys is expected at the top, found {type(tree).__name__}")
    return tree


def read_word(text: str) -> str | Written:
    """Read what stands behind ``key=``: a quoted word without its quotes, all else with what YAML makes of it."""
    try:
        value = _parse(text) if text.strip() else None
    except PccloraError as error:
        return Written(error, text)
    if isinstance(value, str) and text.lstrip()[0] in "'\"":
        return value
    return Written(value.value if isinstance(value, Written) else value, text)


def values_of(tree: Any) -> Any:
    """Return a tree with what YAML makes of each word."""
    if isinstance(tree, Written):
        return values_of(tree.value)
    return _mapped(values_of, tree)


def words_of(tree: Any) -> Any:
    """Return a tree with each word as it was written."""
    return tree.text if isinstance(tree, Written) else _mapped(words_of, tree)


def to_text(values: dict[str, Any]) -> str:
    """Return plain values as the text of a YAML file."""
    text: str = yaml.dump(values, Dumper=_Dumper, allow_unicode=True, sort_keys=False)
    return text


def _mapped(function: Any, tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: function(value) for key, value in tree.items()}
    return [function(value) for value in tree] if isinstance(tree, list) else tree


def _parse(text: str | bytes) -> Any:
    try:
        reader = _Reader(text)
        node = reader.loader.get_single_node()
        return {} if node is None else reader.tree(node, 0)
    except RecursionError as error:
        raise PccloraError("nested too deeply to be settings") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a number of thousands of digits, or ours
        raise PccloraError(" ".join(str(error).split())) from error


class _Reader:
    """One text; counts what it holds, because aliases make much of little."""

    def __init__(self, text: str | bytes) -> None:
        self.loader: Any = _Loader(text)
        self.values = 0

    def tree(self, node: Any, depth: int) -> Any:
        line = node.start_mark.line + 1
        self.values += 1
        if depth > DEEPEST or self.values > MOST_VALUES:
            raise PccloraError(f"line {line}: nested too deeply, or too much, to be settings")
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, depth)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.tree(child, depth + 1) for child in node.value]
        if node.tag == _TAG + "str":
            return node.value
        if node.tag not in _KINDS:
            raise PccloraError(f"line {line}: '{node.tag}': tags are not read; leave it out")
        return Written(self.loader.construct_object(node), node.value)

    def mapping(self, node: Any, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if node.tag != _TAG + "map" or not isinstance(key, yaml.ScalarNode):
                raise PccloraError(f"line {line}: a key is one word, without a tag")
            if key.value in found:
                raise PccloraError(f"line {line}: '{key.value}' is there twice; leave out one of them")
            found[key.value] = self.tree(value, depth + 1)
        return found

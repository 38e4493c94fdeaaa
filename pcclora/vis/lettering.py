"""What is written in pictures: a name is shown as it is, whatever somebody called a class or a file."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pcclora.extras import of_extra

_MISSING = "missing from font"


@contextmanager
def plain_text() -> Iterator[None]:
    """Draw text within this: ``$`` is a dollar sign and no formula, whatever the user's matplotlibrc says.

    Letters that the font lacks are drawn as boxes. One warning tells of them, where matplotlib has one for each letter.
    """
    with of_extra("vis", "a picture"):
        import matplotlib  # heavy, and only pictures need it

    plain: dict[Any, Any] = {"text.parse_math": False, "text.usetex": False}
    with warnings.catch_warnings(record=True) as caught, matplotlib.rc_context(plain):
        yield
    boxes = [warning for warning in caught if _MISSING in str(warning.message)]
    for warning in [w for w in caught if _MISSING not in str(w.message)] + boxes[:1]:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)

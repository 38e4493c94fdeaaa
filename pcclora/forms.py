"""What a JSON file must look like: one small check for all of them, so that no reader meets what it does not expect.

A form is written as the data are: ``{"seeds": [int], "by?": str, "*": float}`` is an object with a list of whole
numbers, perhaps a text, and numbers under all other names. ``float`` is any finite number, a tuple lists alternatives,
``None`` is null. Names that a form does not mention may be there.
"""

import sys
from typing import Any

from pcclora.errors import PccloraError

_LARGEST = sys.float_info.max
_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a finite number",
    str: "a text",
    bool: "true or false",
    dict: "an object",
    list: "a list",
    None: "null",
}


def check_form(values: Any, form: Any, place: object, *, remedy: str) -> None:
    """Refuse what does not have a form.

    Args:
        values: From JSON.
        form: See the module.
        place: The file, for the message.
        remedy: What to do then.

    Raises:
        PccloraError: Naming the first entry that is wrong, what it is and what it should be.
    """
    wrong = _mismatch(values, form, "")
    if wrong is not None:
        raise PccloraError(f"{place}: {wrong}; it is damaged, or another program wrote it: {remedy}")


def _mismatch(value: Any, form: Any, name: str) -> str | None:
    """Return ``name.name is 3, a text is needed``, or None."""
    if isinstance(form, tuple):
        tried = [_mismatch(value, own, name) for own in form]
        nearest = (wrong for wrong, own in zip(tried, form, strict=True) if type(own) is type(value))
        return None if None in tried else next(nearest, _expected(value, form, name))
    if isinstance(form, dict) and isinstance(value, dict):
        return _mismatch_inside(value, form, name)
    if isinstance(form, list) and isinstance(value, list):
        found = (_mismatch(own, form[0], f"{name}[{index}]") for index, own in enumerate(value))
        return next((wrong for wrong in found if wrong), None)
    return None if _is(value, form) else _expected(value, form, name)


def _mismatch_inside(values: dict[str, Any], form: dict[str, Any], name: str) -> str | None:
    before = f"{name}." if name else ""
    named = {key.removesuffix("?"): own for key, own in form.items() if key != "*"}
    missing = [key for key in named if key not in values and f"{key}?" not in form]
    if missing:
        return f"there is no {before}{missing[0]}"
    rest = form.get("*", object)
    found = (_mismatch(value, named.get(key, rest), f"{before}{key}") for key, value in values.items())
    return next((wrong for wrong in found if wrong), None)


def _is(value: Any, form: Any) -> bool:
    if form is None or isinstance(form, dict | list):
        return value is form
    if form is float:
        return isinstance(value, int | float) and value is not True and value is not False and abs(value) <= _LARGEST
    return isinstance(value, form) and not (form is int and isinstance(value, bool))


def _expected(value: Any, form: Any, name: str) -> str:
    forms = form if isinstance(form, tuple) else (form,)
    needed = " or ".join(_NAMES[_kind(own)] for own in forms)
    shown = _NAMES[type(value)] if isinstance(value, dict | list) else repr(value)
    return f"{name or 'its content'} is {shown if len(shown) <= 40 else shown[:40] + '…'}, {needed} is needed"


def _kind(form: Any) -> Any:
    return type(form) if isinstance(form, dict | list) else form

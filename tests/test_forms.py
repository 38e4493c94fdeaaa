"""The form of a JSON file: what fits passes, and what does not is named by its place in the file."""

import pytest

from pcclora.errors import PccloraError
from pcclora.forms import check_form

FORM = {"seeds": [int], "by?": str, "found": {"*": (float, {"mean": float, "std": (float, None)})}}


@pytest.mark.parametrize(
    "values",
    [
        {"seeds": [], "found": {}},
        {"seeds": [1, 2], "by": "hand", "found": {"a": 1, "b": 0.5, "c": {"mean": 1, "std": None}}, "more": [None]},
    ],
)
def test_what_fits_passes(values):
    check_form(values, FORM, "a.json", remedy="write it again")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "there is no seeds"),
        ([], "its content is a list, an object is needed"),
        (None, "its content is None, an object is needed"),
        ({"seeds": 1, "found": {}}, "seeds is 1, a list is needed"),
        ({"seeds": [1, "x"], "found": {}}, r"seeds\[1\] is 'x', a whole number is needed"),
        ({"seeds": [True], "found": {}}, r"seeds\[0\] is True, a whole number is needed"),
        ({"seeds": [1.0], "found": {}}, r"seeds\[0\] is 1.0, a whole number is needed"),
        ({"seeds": [], "found": {}, "by": None}, "by is None, a text is needed"),
        ({"seeds": [], "found": {"a": True}}, "found.a is True, a finite number or an object is needed"),
        ({"seeds": [], "found": {"a": float("inf")}}, "found.a is inf, a finite number"),
        ({"seeds": [], "found": {"a": float("nan")}}, "found.a is nan, a finite number"),
        ({"seeds": [], "found": {"a": 10**400}}, "found.a is 10*…, a finite number"),
        ({"seeds": [], "found": {"a": {"mean": 1}}}, "there is no found.a.std"),
        ({"seeds": [], "found": {"a": {"mean": [1], "std": 1}}}, "found.a.mean is a list, a finite number is needed"),
    ],
)
def test_what_does_not_is_named(values, message):
    with pytest.raises(PccloraError, match=f"^a.json: {message}.*: write it again$"):
        check_form(values, FORM, "a.json", remedy="write it again")

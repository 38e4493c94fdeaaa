"""Names are shown, never obeyed."""

import csv
import io
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from pcclora.text import csv_cell, first_line, same_name, visible


def test_escape_sequences_are_written_out():
    assert visible("a\x1b[2Jb\x9bc\nd\u202ee\udcff") == r"a\x1b[2Jb\x9bc\nd\u202ee\udcff"
    assert visible("two\nlines\tand\x1b", lines=True) == "two\nlines\tand\\x1b"
    assert visible("naïve ─ 椅子 €") == "naïve ─ 椅子 €"


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text):
    shown = visible(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in shown)
    shown.encode("utf-8")  # what has half a character cannot be written


@given(st.text())
def test_a_cell_is_no_formula_and_comes_back_whole(text):
    cell = csv_cell(text)
    held = io.StringIO()
    csv.writer(held).writerow([cell, "x"])
    assert next(csv.reader(io.StringIO(held.getvalue()))) == [cell, "x"]
    if cell[:1] in "=+-@" and cell:
        float(cell)


def test_an_error_without_words_still_says_what_it_is():
    assert first_line(ValueError("no\nsuch")) == "ValueError: no"
    assert first_line(ValueError("\nno\nsuch"), kind=False) == "no"
    assert first_line(ImportError(), kind=False) == first_line(ImportError()) == "ImportError"


def test_numbers_stay_numbers():
    assert csv_cell("-1.5") == "-1.5" and csv_cell("=1+1") == "'=1+1" and csv_cell("-x") == "'-x"


def test_composed_and_decomposed_names_are_one():
    assert same_name("cafe\u0301") == same_name("café")

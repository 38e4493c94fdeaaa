"""Tables for a console, as Markdown, CSV and LaTeX, and what is bold in them."""

import csv
import shutil
import subprocess

import numpy as np
import pytest
from scipy.stats import ttest_rel

from pcclora.studies.tables import Table, best_of, percent

ROWS = [["CLoRA, p=2 & more", "85.1 ± 0.3", "`adapter.bases=2`"], ["50% _x_ {#1} $ ~^\\", "missing", "`a\nb`"]]


def test_markdown_and_latex():
    table = Table(["setting", "accuracy", "options"], ROWS, ["Base weights: none."], best={(0, 1)})
    assert table.markdown() == (
        "| setting | accuracy | options |\n| --- | --- | --- |\n"
        "| CLoRA, p=2 & more | 85.1 ± 0.3 | `adapter.bases=2` |\n"
        "| 50% _x_ {#1} $ ~^\\ | missing | `a\nb` |\n\nBase weights: none.\n"
    )
    assert table.latex() == (
        "% CLoRA, p=2 & more: `adapter.bases=2`\n% 50% _x_ {#1} $ ~^\\: `a b`\n% Base weights: none.\n"
        "\\begin{tabular}{lr}\n\\toprule\nsetting & accuracy \\\\\n\\midrule\n"
        "CLoRA, p=2 \\& more & \\textbf{85.1 $\\pm$ 0.3} \\\\\n"
        "50\\% \\_x\\_ \\{\\#1\\} \\$ \\textasciitilde{}\\textasciicircum{}\\textbackslash{} & missing \\\\\n"
        "\\bottomrule\n\\end{tabular}\n"
    )


def test_a_console_shows_columns_or_rows():
    narrow = Table(["setting", "accuracy"], [["CLoRA", "85.1 ± 0.3"], ["LoRA, r=8", "84.0"]], ["Base weights: none."])
    assert narrow.text(80) == ("setting    accuracy\nCLoRA      85.1 ± 0.3\nLoRA, r=8  84.0\n\nBase weights: none.\n")
    headings = ["setting", *(f"figure {n} of many" for n in range(9))]
    wide = Table(headings, [["CLoRA", "85.1 ± 0.3", "", *["7"] * 6, "`adapter.r=2`"]], ["A note. " * 20])
    shown = wide.text(80)
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.startswith("CLoRA\n  figure 0 of many 85.1 ± 0.3; figure 2 of many 7;")
    assert "figure 1 of many" not in shown and "figure 8 of many adapter.r=2" in " ".join(shown.split())


def test_csv_is_read_back_by_pythons_reader():
    read = list(csv.reader(Table(["setting", "accuracy", "options"], ROWS).csv().splitlines(keepends=True)))
    assert read == [["setting", "accuracy", "options"], *([cell.strip("`") for cell in row] for row in ROWS)]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no LaTeX here")
def test_latex_takes_it(tmp_path):
    table = Table(["setting", "accuracy", "options"], ROWS, best={(0, 1)}).latex()
    text = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}\n{table}\\end{{document}}\n"
    (tmp_path / "t.tex").write_text(text)
    subprocess.run(["pdflatex", "-halt-on-error", "t.tex"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("seed", range(20))
def test_two_are_told_apart_as_scipy_does(seed):
    rng = np.random.default_rng(seed)
    one, other = rng.normal(0.5, 0.1, size=(2, 8)) + np.array([[0.0], [0.05]])
    same = ttest_rel(one, other).pvalue >= 0.05
    better = "one" if one.mean() > other.mean() else "other"
    assert best_of({"one": list(one), "other": list(other)}) == ({"one", "other"} if same else {better})


def test_what_is_not_tested_is_not_said_to_be_equal():
    assert best_of({"a": [0.5], "b": [0.6], "c": [0.6]}) == {"b", "c"}
    assert best_of({"a": [0.5, 0.7], "b": [0.6, 0.61]}, paired=False) == {"b"}
    assert best_of({"a": [0.5, 0.7], "b": [0.6, 0.61]}) == {"a", "b"}
    assert percent(0.8514, 0.0031) == "85.1 ± 0.3" and percent(0.5, None) == "50.0"

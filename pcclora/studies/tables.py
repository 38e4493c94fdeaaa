"""Tables of studies: for a console, as Markdown, as CSV, and as LaTeX for papers.

In LaTeX the best is bold, and what no test tells from it.
"""

import csv
import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pcclora.metrics.paired import PairedDifference, paired_differences

_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"},
}


@dataclass
class Table:
    """Cells of text, and what is said below them.

    Attributes:
        headings: Of the columns.
        rows: As many cells each.
        notes: Sentences.
        best: (row, column) of cells that are the best of their column, or are not told from it.
    """

    headings: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: Sequence[str] = ()
    best: set[tuple[int, int]] = field(default_factory=set)

    def markdown(self) -> str:
        """Return it as Markdown."""
        lines = [self.headings, ["---"] * len(self.headings), *self.rows]
        below = "".join(f"{note}\n" for note in self.notes)
        return "".join(f"| {' | '.join(cells)} |\n" for cells in lines) + (f"\n{below}" if below else "")

    def text(self, width: int) -> str:
        """Return it for a console: in columns where they fit, else row by row, each cell behind its heading.

        Args:
            width: Of the console, in characters.
        """
        cells = [self.headings, *self.rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        if sum(widths) + 2 * len(widths) <= width and not any("\n" in cell for row in cells for cell in row):
            lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
        else:
            page = textwrap.TextWrapper(width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
            lines = []
            for first, *others in self.rows:
                named = zip(self.headings[1:], others, strict=True)
                held = "; ".join(f"{heading} {cell.strip('`')}" for heading, cell in named if cell)
                lines += [*textwrap.wrap(first, width), *page.wrap(held)]
        below = [line for note in self.notes for line in textwrap.wrap(note, width)]
        return "\n".join([*lines, *([""] if below else []), *below]) + "\n"

    def csv(self) -> str:
        """Return it as CSV, without its notes."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([self.headings, *([cell.strip("`") for cell in row] for row in self.rows)])
        return text.getvalue()

    def latex(self) -> str:
        r"""Return it for a document with ``\usepackage{booktabs}``.

        A column of `code`, which says how a row is made, goes into comments, and so do the notes.
        """
        code = {n for row in self.rows for n, cell in enumerate(row) if cell.startswith("`")}
        shown = [n for n in range(len(self.headings)) if n not in code]
        lines = [[_latex(self.headings[n]) for n in shown]]
        for place, row in enumerate(self.rows):
            lines.append([_bold(_latex(row[n])) if (place, n) in self.best else _latex(row[n]) for n in shown])
        head, *body = (f"{' & '.join(cells)} \\\\\n" for cells in lines)
        made = [f"{row[0]}: {row[n]}" for row in self.rows for n in sorted(code) if row[n]]
        comments = "".join(f"% {' '.join(line.split())}\n" for line in (*made, *self.notes) if line)
        begin = f"\\begin{{tabular}}{{l{'r' * (len(shown) - 1)}}}\n"
        rules = ("\\toprule\n", "\\midrule\n", "\\bottomrule\n")
        return f"{comments}{begin}{rules[0]}{head}{rules[1]}{''.join(body)}{rules[2]}\\end{{tabular}}\n"


def percent(mean: float, std: float | None) -> str:
    """Return a mean, and what it spreads by if that is known, in percent."""
    return f"{100 * mean:.1f}" + ("" if std is None else f" ± {100 * std:.1f}")


def best_of(values: Mapping[str, Sequence[float]], *, paired: bool = True) -> set[str]:
    """Return the best of several, and those that the paired test does not tell from it.

    Args:
        values: Name -> its measurements, of which more is better; not empty.
        paired: Whether the n-th ones of all belong together, as those of a seed or a fold; else, and where there is one
            of each, nothing is tested, and only the best is best.
    """
    means = {name: float(np.mean(own)) for name, own in values.items()}
    best = max(means, key=lambda name: means[name])
    equal = {name for name, mean in means.items() if mean == means[best]}
    if not paired or len(values[best]) == 1:
        return equal
    told = {name for pair in paired_differences(values) if pair.more_than_noise for name in _beside(best, pair)}
    return set(values) - told


def _beside(name: str, pair: PairedDifference) -> set[str]:
    """Return the other one of a pair that has a name in it."""
    both = {pair.first, pair.second}
    return both - {name} if name in both else set()


def _latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


def _bold(text: str) -> str:
    return f"\\textbf{{{text}}}" if text else text

"""Measure pcclora beside its peers on this machine.

    pcclora benchmark --only ops --csv ops.csv

One thread, process CPU time, all methods in turn in one run: only ratios within one table mean something. A CUDA
device, which only images are measured on, is timed by the clock on the wall. A peer that is not installed has no row.
"""

import csv
import os
import sys
from itertools import groupby
from pathlib import Path

import torch

from pcclora.atomic import replacing
from pcclora.engine import console
from pcclora.errors import PccloraError
from pcclora.ops import backends
from pcclora.tools.benchmarks import GROUPS
from pcclora.tools.benchmarks.timing import Row
from pcclora.tools.shared.parser import Parser

HEADER = ("case", "method", "median ms", "min ms", "speed", "by min", "peak MB", "against")


def main() -> None:
    """Parse, measure, print."""
    parser = Parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS), help="what to measure")
    parser.add_argument("--rounds", type=int, default=3, help="samples of each method (default: 3)")
    parser.add_argument("--csv", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        raise PccloraError(f"--rounds {arguments.rounds}: at least 1 is needed")
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that some measurements start
    gpu = f"; {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    versions = f"Python {sys.version.split()[0]}, torch {torch.__version__}"
    console.write(f"{versions}, {os.cpu_count()} cores; {backends()['cpu']}{gpu}\n")
    table: list[dict[str, str]] = []
    refused = []
    for group in arguments.only:
        try:
            measured = GROUPS[group](arguments.rounds)
        except PccloraError as error:
            refused.append(f"{group} was not measured: {error}")
            continue
        for _, rows in groupby(measured, key=lambda row: row.case):
            table += show(list(rows))
    if arguments.csv:
        with replacing(arguments.csv) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, headings(table), restval="")
            writer.writeheader()
            writer.writerows(table)
    if refused:
        raise PccloraError("\n".join(refused))


def show(rows: list[Row]) -> list[dict[str, str]]:
    """Print the rows of one case, the fastest first, and return them as text by heading."""
    by_method = {row.method: row for row in rows}
    lines = [cells(row, by_method.get(row.reference)) for row in sorted(rows, key=lambda row: row.median)]
    filled = [heading for heading in headings(lines)[1:] if any(line.get(heading) for line in lines)]
    table = [filled, *([line.get(heading, "") for heading in filled] for line in lines)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    text = [" ".join(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)) for line in table]
    named = "".join(f"\n{line[0]:<{widths[0]}} {own}".rstrip() for line, own in zip(table, text, strict=True))
    console.write(f"\n{rows[0].case}{named}\n")
    return lines


def headings(lines: list[dict[str, str]]) -> list[str]:
    """Return the headings of some lines: those that all have, then their notes."""
    return list(dict.fromkeys((*HEADER, *(heading for line in lines for heading in line))))


def cells(row: Row, reference: Row | None) -> dict[str, str]:
    """Return the row as text; its speed is the reference's time over its own, by medians and by minima."""
    times = (f"{row.median * 1e3:.2f}", f"{row.minimum * 1e3:.2f}")
    memory = "" if row.peak_mb is None else f"{row.peak_mb:.0f}"
    speeds, against = ("", ""), ""
    if reference is not None:
        speeds = (f"{reference.median / row.median:.2f}", f"{reference.minimum / row.minimum:.2f}")
        against = row.reference
    return dict(zip(HEADER, (row.case, row.method, *times, *speeds, memory, against), strict=True)) | dict(row.notes)

"""The tables of the literature: parts that share their settings, each table beside the figures that papers print.

::

    OUTPUT/<part>/    what the part's study makes: a comparison, a few-shot comparison, or a suite for each setting

Nothing is run here: :mod:`pcclora.studies.parts` has the studies. A part whose data or weights are not here is left
out.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from pcclora.errors import PccloraError, did_you_mean
from pcclora.studies.comparison import Comparison, refuse_shared_homes
from pcclora.studies.fewshot.settings import load_fewshot
from pcclora.studies.grid import points_of
from pcclora.studies.parts import FoldStudy, SeedStudy, Study, SuiteStudy
from pcclora.studies.suite import Suite, find_tasks
from pcclora.studies.tables import Table
from pcclora.tasks.registry import load_run_config

Settings = dict[str, list[str]]
Kind = Literal["comparison", "fewshot", "suite"]


@dataclass
class Source:
    """Where figures are printed, and by what protocol they were made.

    Attributes:
        where: As "README of Point-MAE".
        protocol: Augmentation, or weights and input statistics.
        epoch: Which epoch's figure it is.
        secondary: Whether the figures were read elsewhere than in the source itself.
    """

    where: str = ""
    protocol: str = ""
    epoch: Literal["best on the test set", "last", "not stated"] = "not stated"
    secondary: bool = False

    def __str__(self) -> str:
        """Return it as a note below a table says it."""
        epoch = f"epoch {self.epoch}"
        return "; ".join(filter(None, (self.where, self.protocol, epoch, "secondary" if self.secondary else "")))


@dataclass
class Part:
    """One table.

    Attributes:
        study: What makes it.
        config: What all settings start from: a run, or of a few-shot comparison one of ``configs/fewshot``.
        needs: Name of data or weights -> the key that takes their place, as ``{scanobjectnn: data.root}``.
        options: ``key=value`` for all settings; in a few-shot comparison they win over a setting's own.
        settings: What it adds to some settings of the paper, or settings that only it has.
        without: Settings of the paper that it does not have -> why.
        seeds: Of each setting's runs; few-shot comparisons have folds instead.
        tasks: Of a suite: all, groups, or tasks.
        grid: Key -> values, tried for each setting.
        choose_on: See :class:`~pcclora.studies.comparison.Comparison`.
        tuning: See there.
        tuning_seeds: See there.
        published: Setting -> source -> its figures, as a paper prints them.
        note: What is to be said below the table.
    """

    study: Kind = "comparison"
    config: str = ""
    needs: dict[str, str] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)
    settings: dict[str, list[str]] = field(default_factory=dict)
    without: dict[str, str] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    tasks: list[str] = field(default_factory=list)
    grid: dict[str, list[str]] = field(default_factory=dict)
    choose_on: str = ""
    tuning: list[str] = field(default_factory=list)
    tuning_seeds: int = 2
    published: dict[str, dict[str, str]] = field(default_factory=dict)
    note: str = ""

    def open(self, settings: Settings, options: Sequence[str]) -> Study:
        """Return the study of these settings.

        Args:
            settings: Name -> ``key=value``.
            options: For all of them, beside the part's own.

        Raises:
            PccloraError: If one of them cannot be used.
        """
        file = Path(self.config)
        if self.study == "fewshot":
            return FoldStudy(load_fewshot(file, [f"methods={json.dumps(settings)}", *self.options, *options]))
        if self.study == "suite":
            words = {name: [*self.options, *own, *options] for name, own in settings.items()}
            runs = {name: load_run_config(file, own) for name, own in words.items()}
            tasks = find_tasks(next(iter(runs.values())).data, self.tasks)
            points = points_of(self.grid, "grid") if self.grid else []
            return SuiteStudy(Suite(tasks, tuple(points), tuple(self.seeds)), runs)
        comparison = Comparison(
            config=self.config,
            seeds=self.seeds,
            options=self.options,
            choose_on=self.choose_on,
            settings=settings,
            grid=self.grid,
            tuning=self.tuning,
            tuning_seeds=self.tuning_seeds,
        )
        return SeedStudy(comparison, options)


@dataclass
class Paper:
    """What a YAML file in ``configs/results/`` with ``parts`` holds.

    Attributes:
        settings: Name of a setting -> its ``key=value``; all parts have them.
        parts: Name -> a table.
        sources: Name -> what it is.
        elsewhere: Names of methods that only papers have: rows of published figures.
    """

    settings: dict[str, list[str]] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse names that are none, and parts that would share a folder."""
        refuse_shared_homes("parts", self.parts)
        for name, part in self.parts.items():
            for own in part.without:
                self._known(f"{name}: without", own, self.settings)
            for own, figures in part.published.items():
                self._known(f"{name}: published", own, [*self.settings, *part.settings, *self.elsewhere])
                for source in figures:
                    self._known(f"{name}: {own}", source, self.sources)

    def find_parts(self, patterns: Sequence[str]) -> list[str]:
        """Return the names of parts by their names or patterns, as ``few-shot*``; all without any.

        Raises:
            PccloraError: If one fits no part.
        """
        found = {pattern: [name for name in self.parts if fnmatchcase(name, pattern)] for pattern in patterns}
        for pattern, names in found.items():
            if not names:
                self._known("--part", pattern, self.parts)
        return [name for name in self.parts if not patterns or any(name in names for names in found.values())]

    def lacks(self, part: str, have: Mapping[str, str]) -> list[str]:
        """Return the names of what a part needs and is not here.

        Args:
            part: Its name.
            have: Name of data or weights -> where they are.

        Raises:
            PccloraError: If one of these is no name of data or weights of this paper.
        """
        needed = dict.fromkeys(need for own in self.parts.values() for need in own.needs)
        for name in have:
            self._known("--have", name, needed)
        return [need for need in self.parts[part].needs if need not in have]

    def open(self, part: str, have: Mapping[str, str], options: Sequence[str] = ()) -> Study:
        """Return the study of a part.

        Args:
            part: Its name.
            have: Name of data or weights -> where they are.
            options: Further ``key=value`` for all settings.

        Raises:
            PccloraError: If one of its settings cannot be used.
        """
        own = self.parts[part]
        words = {name: [*held, *own.settings.get(name, ())] for name, held in self.settings.items()}
        only_here = {name: held for name, held in own.settings.items() if name not in words}
        settings = {name: held for name, held in (only_here | words).items() if name not in own.without}
        if not own.config or not settings:
            raise PccloraError(f"{part}: a part needs a config and settings")
        places = [f"{key}={have[need]}" for need, key in own.needs.items() if need in have]
        return own.open(settings, [*places, *options])

    def beside_published(self, part: str, table: Table) -> Table:
        """Return a part's table with a column of what papers print, and the notes that say where and by what protocol.

        Args:
            part: Its name.
            table: From its study.
        """
        own, place = self.parts[part], table.headings.index("trained")
        numbers = {source: n for n, source in enumerate(_used(own.published), 1)}
        marks = {s: f"[{n}, secondary]" if self.sources[s].secondary else f"[{n}]" for s, n in numbers.items()}
        rows = {str(row[0]): list(row) for row in table.rows}
        rows |= {name: [name, *[""] * (len(table.headings) - 1)] for name in own.published if name not in rows}
        for name, row in rows.items():
            figures = own.published.get(name, {})
            row.insert(place, "; ".join(f"{said} {marks[source]}" for source, said in figures.items()))
        headings = [*table.headings[:place], "published", *table.headings[place:]]
        notes = [
            *table.notes,
            *([own.note] if own.note else []),
            *(f"Without {name}: {why}." for name, why in own.without.items()),
            *(f"[{n}] {self.sources[source]}." for source, n in numbers.items()),
        ]
        best = {(row, column + (column >= place)) for row, column in table.best}
        return Table(headings, list(rows.values()), notes, best)

    @staticmethod
    def _known(where: str, name: str, names: Sequence[str] | Mapping[str, object]) -> None:
        if name not in names:
            raise PccloraError(f"{where}: there is no '{name}'{did_you_mean(name, names)}")


def _used(published: Mapping[str, Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys(source for figures in published.values() for source in figures))

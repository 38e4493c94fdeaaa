"""One face for the studies that compare settings: their runs, running them, and a table with a row a setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pcclora.config import to_yaml
from pcclora.engine.run_folder import RunFolder
from pcclora.errors import PccloraError
from pcclora.runs.build import anchored
from pcclora.studies.comparison import Comparison, compare, home_of, table
from pcclora.studies.fewshot.settings import FewShotRun
from pcclora.studies.fewshot.study import begin, read_folds, run_folds
from pcclora.studies.fewshot.summary import figures_table, summarize, write_summary
from pcclora.studies.runner import LeavesFailedError, Outcome, Workers, holds_study
from pcclora.studies.suite import Suite, begin_suite, extend_suite, finished_tasks, holds_suite, run_suite
from pcclora.studies.suite_summary import suites_table, summarize_suite, write_suite_summary
from pcclora.studies.tables import Table
from pcclora.tasks.settings import AdaptationRun


class Study(Protocol):
    """Settings side by side; all that is finished in its folder stays."""

    def runs(self) -> Mapping[str, AdaptationRun]:
        """Resolve every setting: its name -> the run.

        Raises:
            PccloraError: If one cannot be used.
        """

    def run(self, output: Path, workers: Workers) -> Outcome:
        """Run what is not finished.

        Raises:
            PccloraError: If anything that it needs cannot be used.
        """

    def table(self, output: Path) -> Table:
        """Return what is finished: a row a setting, with a column ``trained``."""


@dataclass(frozen=True)
class SeedStudy:
    """A comparison: every setting with several seeds.

    Attributes:
        comparison: Of the settings.
        options: Further ``key=value`` for all of them.
    """

    comparison: Comparison
    options: Sequence[str] = ()

    def runs(self) -> Mapping[str, AdaptationRun]:
        """Resolve every setting."""
        return {name: self.comparison.run(name, [*self.options]) for name in self.comparison.settings}

    def run(self, output: Path, workers: Workers) -> Outcome:
        """Run what is not finished."""
        return compare(self.comparison, output, options=[*self.options], workers=workers)

    def table(self, output: Path) -> Table:
        """Return what is finished."""
        return table(self.comparison, output)


@dataclass(frozen=True)
class FoldStudy:
    """A few-shot comparison of one number of ways and shots.

    Attributes:
        config: Its run.
    """

    config: FewShotRun

    def __post_init__(self) -> None:
        """Refuse several tables in one."""
        if len(self.config.settings) > 1:
            raise PccloraError(f"way {self.config.way}, shot {self.config.shot}: one of each is a table; make parts")

    def runs(self) -> Mapping[str, AdaptationRun]:
        """Resolve every setting."""
        return {name: self.config.method(name) for name in self.config.methods}

    def run(self, output: Path, workers: Workers) -> Outcome:
        """Run what is not finished."""
        begin(self.config, output)
        outcome = run_folds(self.config, output, workers)
        write_summary(self.config, read_folds(self.config, output), output)
        return outcome

    def table(self, output: Path) -> Table:
        """Return what is finished."""
        return figures_table(self.config, summarize(self.config, read_folds(self.config, output)))


@dataclass(frozen=True)
class SuiteStudy:
    """A suite for each setting.

    Attributes:
        suite: Tasks, points and seeds, the same for all.
        settings: Name -> the run that its tasks start from.
    """

    suite: Suite
    settings: Mapping[str, AdaptationRun]

    def runs(self) -> Mapping[str, AdaptationRun]:
        """Resolve every setting."""
        return self.settings

    def run(self, output: Path, workers: Workers) -> Outcome:
        """Run what is not finished."""
        outcome = Outcome()
        for name, config in self.settings.items():
            folder = home_of(output, name)
            self._begin(config, folder)
            try:
                finals = run_suite(folder, workers)
            except LeavesFailedError as error:  # the other settings go on
                outcome.failed[name] = str(error)
                continue
            outcome.left += [f"{name}, {task}" for task in self.suite.tasks if task not in finals]
            if finals:
                write_suite_summary(folder, finals)
        return outcome

    def table(self, output: Path) -> Table:
        """Return what is finished."""
        return suites_table({name: self._held(home_of(output, name)) for name in self.settings}, self.suite.tasks)

    def _begin(self, config: AdaptationRun, folder: Path) -> None:
        if not holds_suite(folder):
            begin_suite(config, self.suite, folder)
        elif holds_study(folder, {"config.yaml": to_yaml(anchored(config))}):
            extend_suite(folder, self.suite)
        else:
            raise PccloraError(f"{folder}: begun with other options (see its config.yaml); give those, or --output")

    def _held(self, folder: Path) -> Mapping[str, object]:
        finals = finished_tasks(folder) if holds_suite(folder) else {}
        return summarize_suite({task: RunFolder(run).read_summary() for task, run in finals.items()}) if finals else {}

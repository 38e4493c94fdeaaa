"""The tasks by name, and the one that a configuration is of."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pcclora.commands import spelled
from pcclora.config import load_config
from pcclora.errors import PccloraError
from pcclora.tasks.base import AnyTask, Run, Task
from pcclora.tasks.classification import Classification
from pcclora.tasks.images import ImageClassification
from pcclora.tasks.parts import PartSegmentation
from pcclora.tasks.settings import AdaptationRun

TASKS: dict[str, AnyTask] = {task.name: task for task in (Classification(), PartSegmentation(), ImageClassification())}


def task_of(config: Run) -> Task[Run]:
    """Return the task that a configuration is of."""
    return TASKS[config.task]


def check_kind(task: AnyTask, what: str, holds: str) -> None:
    """Refuse a data set or a model of another kind than a task is about.

    Args:
        task: The task.
        what: The data set or model, for the message.
        holds: ``point clouds`` or ``images``.

    Raises:
        PccloraError: Naming the tools that take it.
    """
    if holds != task.holds:
        tools = " or ".join(own.tool for own in TASKS.values() if own.holds == holds)
        raise PccloraError(f"{what} is for {holds}, and {task.title} here is about {task.holds}; use {spelled(tools)}")


def load_run_config(file: Path, overrides: Sequence[str] = ()) -> AdaptationRun:
    """Read a configuration of any task; a file that names none is of classification.

    Args:
        file: A run's config.yaml, or a file of ``configs/``.
        overrides: ``key=value``.

    Raises:
        PccloraError: If it cannot be read, or is of something else, as pre-training.
    """

    def schema(words: Mapping[str, Any]) -> type[AdaptationRun]:
        name = str(words.get("task", "cls"))
        if name not in TASKS:
            raise PccloraError(f"{file}: its task is '{name}'; {', '.join(TASKS)} can be used here")
        return TASKS[name].schema

    return load_config(schema, file=file, overrides=overrides)

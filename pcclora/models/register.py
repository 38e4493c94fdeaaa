"""A backbone's line in the registry: its name, its config, and the model of each task."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from pcclora.errors import PccloraError, did_you_mean
from pcclora.models.backbone import Backbone
from pcclora.registry import MODELS

TASKS: dict[str, tuple[str, ...]] = {  # and the numbers of outputs that each takes
    "cls": ("num_classes",),
    "partseg": ("num_parts", "num_categories"),
    "pretrain": (),
}


def register_model(
    name: str,
    *,
    config: type,
    heads: Mapping[str, Callable[..., Backbone]],
    variant: str | None = None,
    variants: Callable[[], Iterable[str]] = tuple,
) -> None:
    """Register a backbone: one line for each name that a YAML file can use.

    Args:
        name: The name.
        config: Its dataclass; each name has a dataclass of its own.
        heads: The model's class for each task that it has, called with the config and what :data:`TASKS` says.
        variant: As of :meth:`pcclora.registry.Registry.register`.
        variants: As there.

    Raises:
        PccloraError: If the name, or the dataclass, is taken.
    """
    MODELS.register(name, config=config, variant=variant, variants=variants)(partial(_build, heads))


def _build(
    heads: Mapping[str, Callable[..., Backbone]],
    config: object,
    *,
    task: str,
    num_classes: int = 0,
    num_parts: int = 0,
    num_categories: int = 0,
    channels: int = 0,
) -> Backbone:
    """Build the model of one task.

    Raises:
        PccloraError: If there is no such task, or not for this model, or a number that it needs is not positive, or it
            has no place for channels.
    """
    if task not in TASKS:
        raise PccloraError(f"unknown task '{task}'{did_you_mean(task, TASKS)}")
    if task not in heads:
        raise PccloraError(
            f"model '{MODELS.name_of(config)}' has no head for the task '{task}', only for {', '.join(heads)}"
        )
    given = {"num_classes": num_classes, "num_parts": num_parts, "num_categories": num_categories}
    counts = {name: given[name] for name in TASKS[task]}
    for name, count in counts.items():
        if count < 1:
            raise PccloraError(f"{name} is {count}, 1 or more is expected")
    model = heads[task](config, **counts)
    if channels:
        model.add_channels(channels)
    return model

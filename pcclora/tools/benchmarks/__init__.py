"""What `pcclora benchmark` measures. One file a group, with `measure(rounds) -> list[Row]`; GROUPS names them."""

from collections.abc import Callable

from pcclora.tools.benchmarks import adapters, export, image, imports, methods, ops, partseg, programs, runs, training
from pcclora.tools.benchmarks.timing import Row

GROUPS: dict[str, Callable[[int], list[Row]]] = {
    "import": imports.measure,
    "ops": ops.measure,
    "adapters": adapters.measure,
    "partseg": partseg.measure,
    "image": image.measure,
    "methods": methods.measure,
    "training": training.measure,
    "programs": programs.measure,
    "runs": runs.measure,
    "export": export.measure,
}

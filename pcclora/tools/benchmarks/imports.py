"""What `import pcclora` costs beyond `import torch`, each in a fresh process."""

import subprocess
import sys

from pcclora.tools.benchmarks.timing import Row

CODE = "import time; import {}; print(time.process_time())"


def measure(rounds: int) -> list[Row]:
    """Time both imports in turn.

    Args:
        rounds: How often.
    """
    samples: dict[str, list[float]] = {"torch": [], "pcclora": []}
    for _ in range(rounds):
        for module, taken in samples.items():
            command = [sys.executable, "-c", CODE.format(module)]
            run = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own words
            taken.append(float(run.stdout))
    samples["difference"] = [ours - theirs for theirs, ours in zip(samples["torch"], samples["pcclora"], strict=True)]
    return [Row("import", module, tuple(taken)) for module, taken in samples.items()]

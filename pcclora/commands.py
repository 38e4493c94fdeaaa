"""The names of the commands, and how a text names one: as the user has called the present one.

``pcclora train-cls`` and, in a checkout, ``python tools/train_cls.py`` are the same; ``pcclora prepare fgvc`` and
``python datasets/fgvc/prepare.py`` too.
"""

import re
import sys
from pathlib import Path

COMMANDS = {
    "train-cls": "adapt a backbone to classes of point clouds",
    "train-partseg": "adapt a backbone to parts of point clouds",
    "train-image": "adapt a vision transformer to photographs",
    "fewshot": "compare methods on episodes of a few objects a class",
    "predict": "classes of scans or photographs, parts of scans, by a run",
    "pack": "put a finished run into one file, to send or to deploy",
    "evaluate": "test a finished run again, on other data, with votes",
    "visualize": "see scans and what a run says: window, picture, page",
    "push": "put a run or an adapter on the Hugging Face hub",
    "pull": "fetch a run or an adapter from the Hugging Face hub",
    "export": "a run's model for other programs: ONNX, torch's pt2",
    "app": "look at scans, label and adapt, in a browser",
    "results": "train settings side by side and print their table",
    "pretrain": "pre-train a backbone by masked autoencoding",
    "benchmark": "measure pcclora beside its peers on this machine",
    "episodes": "write few-shot episodes in the official form",
    "prepare": "check a copy of a data set, make slow files fast",
    "list": "list data sets, models, adapters, and the keys of each",
    "methods": "list the adaptation methods, what they train and cost",
    "configs": "list the configurations that come with it, copy one to edit",
    "doctor": "say what is found here: versions, kernel, devices, extras",
}
"""Name -> what it does, in one line."""

RESUMING = frozenset(("train-cls", "train-partseg", "train-image", "fewshot", "pretrain"))
"""What can be gone on with by ``--resume`` where it was ended."""

_FILES = {name: name.replace("-", "_") for name in COMMANDS} | {"episodes": "write_episodes"}
_CHECKOUT = Path(__file__).resolve().parents[1]
_INSTALLED = r'("\$\(command -v pcclora\)"|\bpcclora)'  # the first is how `accelerate launch` finds it
_NAMED = re.compile(rf"{_INSTALLED} (?:prepare (\w+)|({'|'.join(COMMANDS)})(?![\w-]))")


def spelled(text: str) -> str:
    """Return a text in which each ``pcclora NAME`` is as the user would call it: a file, if this process is one.

    Args:
        text: As ``next: pcclora predict FILE``.
    """
    return _NAMED.sub(_as_file, text) if _is_a_file_of_the_checkout() else text


def _is_a_file_of_the_checkout() -> bool:
    file = Path(sys.argv[0])
    rooms = (_CHECKOUT / "tools", _CHECKOUT / "datasets")
    return file.suffix == ".py" and any(file.resolve().is_relative_to(room) for room in rooms)


def _as_file(found: re.Match[str]) -> str:
    installed, dataset, name = found.groups()
    file = f"datasets/{dataset}/prepare.py" if dataset else f"tools/{_FILES[name]}.py"
    return f"python {file}" if installed == "pcclora" else file

"""The golden outputs of methods' original code."""

import json
import runpy
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

State = Mapping[str, Tensor]


@pytest.fixture(scope="module")
def golden(goldens: Path) -> Callable[[str], tuple[State, Mapping[str, Tensor]]]:
    """Name -> the golden's weights by the originals' keys, and its arrays."""

    def read(name: str) -> tuple[State, Mapping[str, Tensor]]:
        sys.path.insert(0, str(goldens))
        try:
            make = runpy.run_path(str(goldens / "method_state.py"))["method_state"]
        finally:
            sys.path.remove(str(goldens))
        keys = json.loads((goldens / f"{name}.keys.json").read_text())
        with np.load(goldens / f"{name}.npz") as arrays:
            return make(name, keys), {key: torch.from_numpy(arrays[key]) for key in arrays.files}

    return read

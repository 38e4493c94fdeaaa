"""Golden outputs of the original implementations, and models small enough to run in milliseconds."""

import importlib.util
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pcclora.models import create_model
from pcclora.models.backbone import Backbone

SMALL: dict[str, Any] = {
    "dim": 24,
    "depth": 2,
    "heads": 3,
    "num_groups": 8,
    "group_size": 6,
    "encoder_widths": (6, 8, 10),
    "drop_path_rate": 0.0,
    "decoder_depth": 1,
    "label_dim": 4,
    "part_widths": (12, 10, 8, 6),
}
POINT_BERT: dict[str, Any] = {"encoder_dim": 12, "part_widths": (12, 8, 6), "part_levels": (16, 12)}

State = dict[str, torch.Tensor]
Golden = Callable[[str], tuple[State, dict[str, torch.Tensor]]]
Small = Callable[..., Backbone]


@pytest.fixture(scope="session")
def golden(goldens: Path) -> Golden:
    """``golden(name) -> (state dict, inputs and outputs)`` of one original model."""
    spec = importlib.util.spec_from_file_location("reference_state", goldens / "reference_state.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    @cache
    def read(name: str) -> tuple[State, dict[str, torch.Tensor]]:
        state = module.reference_state(json.loads((goldens / f"{name}.keys.json").read_text()))
        with np.load(goldens / f"{name}.npz") as arrays:
            return state, {key: torch.from_numpy(arrays[key]) for key in arrays.files}

    return read


@pytest.fixture
def small() -> Small:
    """``small(name, **options)``: a registered model at toy widths, always with the same weights."""

    def make(name: str = "point_mae", **options: Any) -> Backbone:
        widths = SMALL | (POINT_BERT if name == "point_bert" else {})
        outputs = {"num_classes": 5, "num_parts": 7, "num_categories": 3}
        torch.manual_seed(0)
        return create_model(name, **{**outputs, **widths, **options})

    return make


@pytest.fixture
def points() -> torch.Tensor:
    """Clouds (4, 40, 3)."""
    return torch.randn(4, 40, 3, generator=torch.Generator().manual_seed(1))

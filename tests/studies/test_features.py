"""What is computed once is what would be computed every time, bit for bit; where it is not, it is not reused."""

import numpy as np
import pytest
import torch

from pcclora import adapters
from pcclora.adapters import CLoRAConfig, LoRAConfig
from pcclora.adapters.methods.selective import BitFitConfig, FullConfig, LinearConfig
from pcclora.models import create_model
from pcclora.studies.fewshot.features import CHUNK, FromStage, constant_stage, stage_outputs

SMALL = {"dim": 24, "depth": 2, "heads": 2, "num_groups": 8, "group_size": 8, "encoder_widths": [8, 16, 32]}
HEAD = ("cls_head_finetune",)
STAGES = [
    (LinearConfig(modules_to_save=HEAD), {}, "features"),
    (LinearConfig(), {}, "tokens"),  # the class token trains beside the head
    (LoRAConfig(r=2), {}, "tokens"),
    (CLoRAConfig(r=2), {"drop_path_rate": 0.2}, "tokens"),  # the blocks draw, what comes before them does not
    (LinearConfig(modules_to_save=HEAD), {"drop_path_rate": 0.2}, "tokens"),
    (LinearConfig(modules_to_save=(*HEAD, "encoder")), {}, None),
    (BitFitConfig(), {}, None),
    (FullConfig(), {}, None),
]


def small(**changes):
    torch.manual_seed(0)
    return create_model("point_mae_tiny", num_classes=3, **{**SMALL, **changes})


@pytest.fixture
def clouds():
    return torch.rand(21, 64, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("config", "changes", "expected"), STAGES)
def test_the_constant_part_is_found(config, changes, expected, clouds):
    model = small(**changes)
    adapters.attach(model, config)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    assert constant_stage(model, clouds[:1]) == expected
    assert torch.equal(random, torch.get_rng_state()) and model.training
    if expected is not None:
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_random_blocks_that_never_train_are_not_constant(clouds):
    model = small(drop_path_rate=0.9)
    adapters.attach(model, LinearConfig(modules_to_save=HEAD))
    one, two = (model.train().features(clouds) for _ in range(2))
    assert not torch.equal(one, two) and constant_stage(model, clouds[:1]) == "tokens"


@pytest.mark.parametrize("name", ["point_mae_tiny", "point_bert", "recon", "act"])
@pytest.mark.parametrize("stage", ["features", "tokens"])
def test_a_cloud_owes_nothing_to_its_place(name, stage, clouds):
    widths = {**SMALL, "encoder_dim": 16} if name == "point_bert" else SMALL
    widths = {**widths, "dim": 48 if name == "point_bert" else 24}
    torch.manual_seed(0)
    model = create_model(name, num_classes=3, **widths).eval()
    whole = stage_outputs(model, stage, clouds)
    order = torch.from_numpy(np.random.default_rng(2).permutation(len(clouds)))
    assert torch.equal(stage_outputs(model, stage, clouds[order]), whole[order])
    assert all(torch.equal(stage_outputs(model, stage, clouds[i : i + 1])[0], whole[i]) for i in (0, CHUNK, 20))


@pytest.mark.parametrize("stage", ["features", "tokens"])
def test_the_rest_of_the_model_is_the_model(stage, clouds):
    model = small().eval()
    kept = stage_outputs(model, stage, clouds)
    with torch.no_grad():
        cached, anew = FromStage(model, stage, cached=True)(kept), FromStage(model, stage, cached=False)(clouds)
        assert torch.equal(cached, anew)
        torch.testing.assert_close(cached, model(clouds), rtol=1e-5, atol=1e-6)

"""Decay rules and learning rate."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pcclora.adapters import LoRAConfig, attach
from pcclora.engine.optim import learning_rate, make_optimizer, set_rate
from pcclora.engine.settings import Training
from pcclora.errors import PccloraError
from pcclora.models import create_model


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.norm = nn.LayerNorm(3)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 3))
        self.cls_pos = nn.Parameter(torch.zeros(1, 1, 3))
        self.frozen = nn.Parameter(torch.zeros(3, 3), requires_grad=False)


def test_decay_is_as_point_mae_has_it():
    model = Toy()
    names = {id(p): name for name, p in model.named_parameters()}
    decayed, plain = make_optimizer(model, Training(weight_decay=0.05)).param_groups
    assert {names[id(p)] for p in decayed["params"]} == {"linear.weight", "cls_pos"}
    assert {names[id(p)] for p in plain["params"]} == {"linear.bias", "norm.weight", "norm.bias", "cls_token"}
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.05, 0.0)


def test_what_an_adapter_wants_other_rates_for_is_in_groups_behind():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    attach(model, LoRAConfig(r=2, target_modules=("0",), modules_to_save=("1",), loraplus_lr_ratio=16.0))
    names = {id(p): name for name, p in model.named_parameters()}
    optimizer = make_optimizer(model, Training(lr=1e-3, weight_decay=0.05))
    inside = [[names[id(p)] for p in group["params"]] for group in optimizer.param_groups]
    assert inside == [["1.weight", "adapters.default.groups.3x3.A"], ["1.bias"], ["adapters.default.groups.3x3.B"]]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05, 0.0, 0.05]
    assert [group["lr"] for group in optimizer.param_groups] == [1e-3, 1e-3, 16e-3]
    set_rate(optimizer, 1e-4)
    assert [group["lr"] for group in optimizer.param_groups] == [1e-4, 1e-4, 16e-4]


def test_the_head_may_have_a_rate_of_its_own():
    model = create_model("point_mae_tiny", num_classes=3, dim=24, depth=1, heads=2)
    attach(model, LoRAConfig(r=2, loraplus_lr_ratio=2.0))
    names = {id(p): name for name, p in model.named_parameters()}
    optimizer = make_optimizer(model, Training(lr=1e-3, head_lr=1e-2))
    set_rate(optimizer, 1e-4)
    rates = {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    of_head = [rate for name, rate in rates.items() if name.startswith("cls_head_finetune.")]
    assert of_head == pytest.approx([1e-3] * 10)
    assert rates["cls_token"] == 1e-4 and rates["adapters.default.groups.24x24.A"] == 1e-4
    assert rates["adapters.default.groups.24x24.B"] == pytest.approx(2e-4)


def test_a_rate_of_the_head_alone_is_refused():
    with pytest.raises(PccloraError, match=r"train\.lr is 0, and train\.head_lr is 0\.01"):
        Training(lr=0.0, head_lr=0.01)


def test_nothing_to_train_is_refused():
    with pytest.raises(PccloraError, match="attach an adapter"):
        make_optimizer(nn.Linear(2, 2).requires_grad_(False), Training())


def test_schedule_has_the_published_values():
    """timm's CosineLRScheduler(t_initial=300, lr_min=1e-6, warmup_t=10, warmup_lr_init=1e-6) at lr 5e-4."""
    training = Training(epochs=300, lr=5e-4, min_lr=1e-6, warmup_epochs=10, schedule_by="epoch")
    expected = {0: 1e-6, 5: 2.505e-4, 10: 1e-6 + 4.99e-4 * (1 + math.cos(math.pi / 30)) / 2, 150: 2.505e-4, 300: 1e-6}
    for epoch, lr in expected.items():
        assert learning_rate(epoch, training) == pytest.approx(lr, rel=1e-12)
    assert learning_rate(5.9, training) == learning_rate(5, training)


@given(st.floats(0, 20), st.floats(0, 30))
def test_learning_rate_stays_between_its_bounds(progress, warmup):
    training = Training(epochs=20, lr=1e-3, min_lr=1e-6, warmup_epochs=warmup)
    assert 1e-6 - 1e-12 <= learning_rate(progress, training) <= 1e-3 + 1e-12


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"batch_size": 0}, {"lr": -1.0}, {"lr": math.nan}, {"accumulation": 0}, {"workers": -1}]
)
def test_settings_that_no_run_can_have(wrong):
    with pytest.raises(PccloraError, match=next(iter(wrong))):
        Training(**wrong)

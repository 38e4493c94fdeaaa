"""Linear maps whose weight is read past their forward are refused; those that are called are not."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pcclora
from pcclora import CLoRAConfig, LoRAConfig, PccloraError
from pcclora.adapters.liveness import reader_of
from pcclora.adapters.targets import find_targets
from tests.adapters.backbones import IMAGE_SIZES
from tests.adapters.cases import output, same, state


class Functional(nn.Module):
    """Attention that reads ``qkv.weight`` in a method that forward calls, and calls ``proj`` whose dtype it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(4, 12, bias=False), nn.Linear(12, 4)

    def _project(self, x: Tensor) -> Tensor:
        return F.linear(x, self.qkv.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self._project(x).to(self.proj.weight.dtype))


class Outer(nn.Module):
    """Reads a weight two levels down."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4))
        self.inner.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.inner.fc.weight)


@pytest.mark.parametrize(
    ("model", "target", "reader"),
    [
        (nn.ModuleDict({"attn": nn.MultiheadAttention(4, 2)}), "attn.out_proj", "MultiheadAttention"),
        (nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), "linear1", "TransformerEncoderLayer"),
        (nn.TransformerEncoderLayer(4, 2, 8), "linear2", "TransformerEncoderLayer"),
        (nn.TransformerEncoderLayer(4, 2, 8), "self_attn.out_proj", "(MultiheadAttention|TransformerEncoderLayer)"),
        (nn.Sequential(Functional()), "0.qkv", "Functional"),
        (nn.Sequential(Outer()), "0.inner.fc", "Outer"),
    ],
)
def test_a_target_that_is_never_called_is_refused(model: nn.Module, target: str, reader: str) -> None:
    with pytest.raises(PccloraError, match=f"'{target}': {reader} reads its weight without calling it"):
        pcclora.attach(model, LoRAConfig(target_modules=(target,)))
    assert not hasattr(model, "adapters")


def test_reading_the_dtype_of_a_weight_is_no_reason_to_refuse() -> None:
    model = nn.Sequential(Functional())
    assert [target.module for target in find_targets(model, ["0.proj"])] == ["0.proj"]


class Branch(nn.Module):
    """Reads the weight of ``qkv`` in some modes only, or beside calling it."""

    def __init__(self, when: str) -> None:
        super().__init__()
        self.qkv, self.when = nn.Linear(4, 12), when

    def forward(self, x: Tensor) -> Tensor:
        modes = {"training": self.training, "eval": not self.training, "inference": not torch.is_grad_enabled()}
        if modes.get(self.when, self.when == "always"):
            return F.linear(x, self.qkv.weight, self.qkv.bias)
        y = self.qkv(x)
        return y + 0 * self.qkv.bias if self.when == "beside" else y


@pytest.mark.parametrize("when", ["always", "training", "eval", "inference", "beside"])
def test_a_read_in_any_mode_is_one_too_many(when: str) -> None:
    assert reader_of(nn.Sequential(Branch(when)), "0.qkv") == "Branch"


def test_a_branch_that_is_not_taken_does_no_harm_and_the_model_stays() -> None:
    model = nn.Sequential(Branch("never"), nn.Dropout()).eval()
    kept, random = state(model), torch.get_rng_state()
    assert reader_of(model, "0.qkv") is None
    assert same(state(model), kept) and torch.equal(torch.get_rng_state(), random)
    assert type(model[0].qkv) is nn.Linear and not model[0].training
    pcclora.attach(model, LoRAConfig(target_modules=("0.qkv",)))
    assert reader_of(model, "0.qkv") is None  # what is adapted already


@pytest.mark.parametrize("name", ["vit_small_patch16_dinov3", "vit_small_patch16_rope_224"])
def test_an_eva_without_biases_of_its_own_is_adapted_and_live(name: str) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed (pip install pcclora[image])")
    torch.manual_seed(0)
    model, x = (
        timm.create_model(name, num_classes=5, **IMAGE_SIZES | {"num_heads": 2}).eval(),
        torch.randn(2, 3, 32, 32),
    )
    base = output(model, x)
    adapter = pcclora.attach(model, CLoRAConfig(r=2, bases=2, modules_to_save=("head",)))
    assert torch.equal(output(model, x), base)
    for core in adapter.groups["24x24"].Q:
        nn.init.normal_(adapter.groups["24x24"].U)
        kept, there = core.detach().clone(), output(model, x)
        with torch.no_grad():
            core.normal_()
            assert not torch.equal(output(model, x), there)
            core.copy_(kept)


@pytest.mark.parametrize("name", ["beit_base_patch16_224", "eva02_tiny_patch14_224"])
def test_timm_models_that_read_the_weight_are_refused(name: str) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed (pip install pcclora[image])")
    sizes: dict[str, Any] = IMAGE_SIZES | {"img_size": 28 if "14" in name else 32, "num_heads": 2}
    model = timm.create_model(name, **sizes)
    with pytest.raises(PccloraError, match=r"'blocks.0.attn.qkv': (Eva)?Attention reads its weight without calling it"):
        pcclora.attach(model, CLoRAConfig(modules_to_save=()))

"""One training step of an adapted transformer, beside Hugging Face peft; what SADE costs, and what idle adapters do.

CLoRA with p bases of rank r is compared with LoRA of rank p * r, which has updates of the same rank. The transformer is
Point-MAE's, four blocks of it, on 16 clouds of 65 tokens: tokeniser and head are the same for all and left out.
"""

import copy
import importlib.util
from typing import Any

import torch
from torch import Tensor, nn

import pcclora
from pcclora.adapters import (
    Adapter,
    AdaptFormerConfig,
    CLoRAConfig,
    LinearConfig,
    LoRAConfig,
    PointGSTConfig,
    SSFConfig,
    VPTDeepConfig,
)
from pcclora.models.points.transformer import Transformer
from pcclora.tools.benchmarks.steps import training_step
from pcclora.tools.benchmarks.timing import Row, race

DIM, DEPTH, HEADS, TOKENS, BATCH = 384, 4, 6, 65, 16
RANK, BASES = 8, 4
WHOLE = ("blocks.*.attn.qkv", "blocks.*.attn.proj")


class Blocks(nn.Module):
    """Blocks and a head."""

    modules_to_save = ("head",)

    def __init__(self) -> None:
        super().__init__()
        self.blocks = Transformer(DIM, depth=DEPTH, heads=HEADS)
        self.head = nn.Linear(DIM, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, T, C) to logits (B, 10)."""
        (x,) = self.blocks(x, torch.zeros_like(x))
        logits: Tensor = self.head(x.mean(dim=1))
        return logits


def measure(rounds: int) -> list[Row]:
    """Time training steps, then the penalty alone.

    Args:
        rounds: How often.
    """
    torch.manual_seed(0)
    base, x = Blocks(), torch.randn(BATCH, TOKENS, DIM)
    configs = {
        "clora": CLoRAConfig(r=RANK, bases=BASES),
        "clora, input": CLoRAConfig(r=RANK, bases=BASES, placement="input"),
        "lora r=32": LoRAConfig(r=BASES * RANK, target_modules=WHOLE),
        "linear": LinearConfig(),
    }
    calls = {method: training_step(_adapted(base, config)[0], x) for method, config in configs.items()}
    calls["frozen"] = torch.no_grad()(lambda: base(x))
    reference = "lora r=32"
    if importlib.util.find_spec("peft") is not None:
        reference = "peft r=32"
        calls[reference] = training_step(_peft(base), x)
    return race("train step", calls, rounds=rounds, reference=reference) + _penalty(base, rounds) + _idle(rounds)


def _adapted(base: nn.Module, config: object) -> tuple[nn.Module, Adapter]:
    model = copy.deepcopy(base)
    return model, pcclora.attach(model, config)


def _peft(base: nn.Module) -> nn.Module:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=BASES * RANK, target_modules=r".*\.attn\.(qkv|proj)", modules_to_save=["head"])
    model: nn.Module = get_peft_model(copy.deepcopy(base), config)
    return model


def _penalty(base: nn.Module, rounds: int) -> list[Row]:
    """Forward and backward of SADE for one step, by Gram blocks and through d x d products."""
    adapter: Any = _adapted(base, CLoRAConfig(r=RANK, bases=BASES))[1]
    (bases,) = adapter.groups.values()
    nn.init.normal_(bases.U)

    def plain() -> Tensor:
        W = torch.einsum("hir,mhrs,hso->mhio", bases.D, bases.Q, bases.U)
        pairs = [(W[:, h].mT @ W[:, k]).square().sum() for h in range(BASES) for k in range(h + 1, BASES)]
        penalty: Tensor = adapter.config.diversity * torch.stack(pairs).sum() / len(W)
        return penalty

    torch.testing.assert_close(plain(), adapter.regularization(), rtol=1e-4, atol=0)
    calls = {"gram blocks": lambda: adapter.regularization().backward(), "plain": lambda: plain().backward()}  # type: ignore[no-untyped-call]
    return race("sade", calls, rounds=rounds, reference="plain")


def _idle(rounds: int) -> list[Row]:
    """A forward of the smallest backbone for one cloud, with adapters around its modules that are not active."""
    x, calls = torch.rand(1, 1024, 3), {}
    idle = (VPTDeepConfig(), AdaptFormerConfig(m=8), SSFConfig(), PointGSTConfig())
    for method, configs in {"none idle": (), "one idle": idle[:1], "four idle": idle}.items():
        model = pcclora.create_model("point_mae_tiny", num_classes=16).eval()
        for number, config in enumerate((*configs, LinearConfig())):
            pcclora.attach(model, config, name=f"adapter{number}")
        calls[method] = torch.no_grad()(lambda model=model: model(x))
    return race("idle places", calls, rounds=20 * rounds, reference="none idle")

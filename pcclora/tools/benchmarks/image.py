"""ViT-B/16 on images: a training step of CLoRA beside Hugging Face peft, inference beside the bare backbone.

CLoRA with p bases of rank r is compared with LoRA of rank p * r, whose updates have the same rank; peft's LoRA of rank
r stands beside them. float32, AdamW, on this CPU and, where there is one, on a CUDA device. Peak memory is what one
step adds, gradients and the optimizer's state included, to a process that holds the model. The bound is the products
of the step at the rate that one large matrix product reaches in the same run.
"""

import copy
import importlib.util
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import pcclora
from pcclora.adapters import CLoRAConfig, LinearConfig, LoRAConfig
from pcclora.tools.benchmarks.resources import bound, count_call_macs, peak_mb
from pcclora.tools.benchmarks.steps import loss_of, training_step
from pcclora.tools.benchmarks.timing import Row, clock_of, race

MODEL: dict[str, Any] = {"name": "timm/vit_base_patch16_224", "num_classes": 100}
SIZE, BATCH = 224, 8
RANK, BASES = 8, 4
HEAD = ("head",)
WHOLE = ("blocks.*.attn.qkv", "blocks.*.attn.proj")
PEFT_WHOLE = r".*\.attn\.(qkv|proj)"


def measure(rounds: int) -> list[Row]:
    """Time training steps and inference.

    Args:
        rounds: How often.

    Raises:
        PccloraError: If timm cannot be imported.
    """
    rows: list[Row] = []
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        rows += training(rounds, device) + inference(rounds, device)
    return rows


def methods() -> dict[str, Callable[[nn.Module], nn.Module]]:
    """Return by name what each method makes of the bare model; those of peft where it is installed."""
    whole = LoRAConfig(r=BASES * RANK, lora_alpha=BASES * RANK, target_modules=WHOLE, modules_to_save=HEAD)
    ours = {
        "clora": CLoRAConfig(r=RANK, bases=BASES, modules_to_save=HEAD),
        "clora, input": CLoRAConfig(r=RANK, bases=BASES, placement="input", modules_to_save=HEAD),
        f"lora r={BASES * RANK}": whole,
        "linear": LinearConfig(modules_to_save=HEAD),
    }
    made: dict[str, Callable[[nn.Module], nn.Module]] = {
        name: partial(_attached, config=config) for name, config in ours.items()
    }
    if importlib.util.find_spec("peft") is not None:
        made |= {f"peft r={r}": partial(_peft, r=r) for r in (BASES * RANK, RANK)}
    return made


def training(rounds: int, device: str) -> list[Row]:
    """Time one training step of each method."""
    torch.manual_seed(0)
    base, case = bare(device), f"train {device}"
    models = {name: method(copy.deepcopy(base)) for name, method in methods().items()}
    images = batch(BATCH, device)
    _require_equal(base, models, images[:1])
    calls = {name: training_step(model, images) for name, model in models.items()}
    reference = f"peft r={BASES * RANK}" if f"peft r={BASES * RANK}" in calls else f"lora r={BASES * RANK}"
    macs = count_call_macs(calls["clora"])
    rows = race(case, calls, rounds=rounds, reference=reference, clock=clock_of(device))
    rows = [replace(row, peak_mb=peak_mb(prepare, row.method, device)) for row in rows]
    return [*rows, Row(case, "bound", (bound(macs, device),), reference)]


def inference(rounds: int, device: str) -> list[Row]:
    """Time a forward pass: bare, with CLoRA beside the weights, with CLoRA merged into them."""
    torch.manual_seed(0)
    base, case = bare(device).eval(), f"infer {device}"
    models = {"bare": base} | {name: methods()["clora"](copy.deepcopy(base)) for name in ("clora", "merged")}
    pcclora.merge(models["merged"])
    images = batch(BATCH, device)
    calls = {name: torch.no_grad()(lambda model=model: model(images)) for name, model in models.items()}
    macs = count_call_macs(calls["bare"])
    rows = race(case, calls, rounds=rounds, reference="bare", clock=clock_of(device))
    return [*rows, Row(case, "bound", (bound(macs, device),), "bare")]


def bare(device: str) -> nn.Module:
    """Return the backbone in training mode; its weights are random, which costs the same."""
    return pcclora.create_model(**MODEL).train().to(device)


def batch(B: int, device: str) -> Tensor:
    """Return images (B, 3, SIZE, SIZE)."""
    return torch.randn(B, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).to(device)


def prepare(method: str, device: str) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return what loads a method's code, a backward pass of one image without a trace, and its first whole step."""
    model = methods()[method](bare(device))

    def warm_up() -> None:
        loss_of(model, batch(1, device)).backward()  # type: ignore[no-untyped-call]
        model.zero_grad()

    return warm_up, training_step(model, batch(BATCH, device))


def _attached(model: nn.Module, config: Any) -> nn.Module:
    pcclora.attach(model, config)
    return model


def _peft(model: nn.Module, r: int) -> nn.Module:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=r, lora_alpha=r, target_modules=PEFT_WHOLE, modules_to_save=list(HEAD))
    return get_peft_model(model, config)


@torch.no_grad()
def _require_equal(base: nn.Module, models: dict[str, nn.Module], images: Tensor) -> None:
    """Every method starts from the bare model's output."""
    expected = base(images)
    for name, model in models.items():
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-4, msg=f"{name} changes the output")

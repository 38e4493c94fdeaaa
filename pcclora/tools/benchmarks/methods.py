"""Every registered method at the sizes of papers: a training step beside full fine-tuning, inference beside no method.

All methods have their default settings and take turns in one rotation. A step begins with the points or pixels, so
sampling, neighbours and what a method makes of them (spectra, further groups) are in it. The bound of a method is the
matrix products of its own step, forward and backward, those inside attention included, at the rate that one large
product reaches in the same run; all that is no product is left out of it: activations, norms, softmax, neighbours,
eigenvectors, the optimizer. Peak memory is what a first step adds to a process that holds the model.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

import pcclora
from pcclora.adapters import LinearConfig, find_places
from pcclora.engine import console
from pcclora.errors import PccloraError
from pcclora.tools.benchmarks.resources import bound, count_call_macs, peak_mb
from pcclora.tools.benchmarks.steps import loss_of, training_step
from pcclora.tools.benchmarks.timing import BAR, Row, race

HEAD_ALONE = "head alone"
"""The linear probe without a class token, which published probes of points train: then no block is passed backward."""
YARDSTICK, PEER = "full", "lora"


@dataclass(frozen=True)
class Size:
    """A network and a batch of inputs.

    Attributes:
        model: Arguments of ``create_model``.
        shape: Of one input.
        batch: How many.
        released: Method -> milliseconds of a step of its released code, measured once, on another machine.
        yardstick: Milliseconds of our full fine-tuning there; it tells how fast that machine was.
    """

    model: dict[str, Any]
    shape: tuple[int, ...]
    batch: int
    released: Mapping[str, float] = field(default_factory=dict)
    yardstick: float = 0.0


SIZES = {
    "Point-MAE": Size(
        {"name": "point_mae", "num_groups": 128, "num_classes": 15},
        shape=(2048, 3),
        batch=8,
        released={
            "full": 1399,
            "vpt_deep": 787,
            "pointgst": 782,
            "dapt": 934,
            "idpt": 1753,
            "ppt": 2597,
            "pointlora": 3033,
            "gaprompt": 4900,
        },
        yardstick=1021,
    ),
    "ViT-B/16": Size({"name": "timm/vit_base_patch16_224", "num_classes": 100}, shape=(3, 224, 224), batch=4),
}


def measure(rounds: int) -> list[Row]:
    """Time training steps and inference at every size that can be built here.

    Args:
        rounds: How often.

    Raises:
        PccloraError: If none can.
    """
    rows: list[Row] = []
    errors = []
    for size in SIZES:
        try:
            base = bare(size)
        except PccloraError as error:
            errors.append(f"{size}: {error}")
            continue
        models = adapted(base, size)
        rows += training(models, size, rounds) + inference(base, models, size, rounds)
    if not rows:
        raise PccloraError("\n".join(errors))
    console.write("".join(f"not measured: {error}\n" for error in errors))
    return rows


def bare(size: str) -> Any:
    """Return the backbone in training mode; its weights are random, which costs the same."""
    torch.manual_seed(0)
    return pcclora.create_model(**SIZES[size].model).train()


def batch(size: str, B: int | None = None) -> Tensor:
    """Return points on a sphere (B, N, 3), or images (B, 3, S, S); as many as the size has where B is None."""
    shape = SIZES[size].shape
    x = torch.randn(B or SIZES[size].batch, *shape, generator=torch.Generator().manual_seed(0))
    return F.normalize(x, dim=2) if len(shape) == 2 else x


def configs(base: Any) -> Iterator[tuple[str, Any]]:
    """Yield what is attached, by name: every registered method, and the head alone where it is not the linear probe."""
    for method in pcclora.list_adapters():
        yield method, pcclora.adapter_config(method)
    if set(base.modules_to_save) != set(base.head_names):
        yield HEAD_ALONE, LinearConfig(modules_to_save=tuple(base.head_names))


def adapted(base: Any, size: str) -> dict[str, nn.Module]:
    """Return the backbone with each method that has a place on it; what is frozen is shared. Say which have none."""
    models: dict[str, nn.Module] = {}
    for method, config in configs(base):
        model = _sharing(base)
        try:
            pcclora.attach(model, config)
        except PccloraError as error:
            console.write(f"{size} without {method}: {error}\n")
            continue
        models[method] = model
    return models


def training(models: dict[str, nn.Module], size: str, rounds: int) -> list[Row]:
    """Time one training step of each method.

    Args:
        models: The adapted models, by method; ``full`` and ``lora`` are among them.
        size: Which of SIZES.
        rounds: How often.
    """
    x, case = batch(size), f"train {size}"
    calls = {method: training_step(model, x) for method, model in models.items()}
    counts = {method: _count(calls[method], models[method]) for method in _seen(models, f"counting {size}")}
    rows = {row.method: row for row in race(case, calls, rounds=rounds, reference="")}
    rate = bound(1)
    for method in _seen(models, f"memory {size}"):
        macs, graph = counts[method]
        row, full = rows[method], rows[YARDSTICK]
        notes = {"bound": f"{macs * rate * 1e3:.0f}", "graph": str(graph), "of full": f"{row.over(full):.2f}"}
        notes["of lora"] = f"{row.over(rows[PEER]):.2f}"
        if method in SIZES[size].released:
            notes["of released"] = f"{row.over(full) * SIZES[size].yardstick / SIZES[size].released[method]:.2f}"
        rows[method] = replace(row, notes=notes, peak_mb=peak_mb(prepare, method, size))
    return list(rows.values())


def inference(base: nn.Module, models: dict[str, nn.Module], size: str, rounds: int) -> list[Row]:
    """Time a forward pass of each method beside the weights, one that is merged into them, and the bare model.

    Args:
        base: The bare model.
        models: The adapted ones, by method.
        size: Which of SIZES.
        rounds: How often.
    """
    x, case = batch(size), f"infer {size}"
    merged = copy.deepcopy(models[PEER])
    pcclora.merge(merged)
    models = {"bare": base, **models, f"{PEER}, merged": merged}
    calls = {method: torch.no_grad()(lambda model=model: model(x)) for method, model in models.items()}
    for model in models.values():
        model.eval()
    macs = {method: count_call_macs(calls[method]) for method in _seen(models, f"counting {size}")}
    as_bare = {method: _costs(model, calls[method], macs["bare"]) for method, model in models.items()}
    rows = {row.method: row for row in race(case, calls, rounds=rounds, reference="")}
    rate = bound(1)
    for method, row in rows.items():
        notes = {"bound": f"{macs[method] * rate * 1e3:.0f}", "of bare": f"{row.over(rows['bare']):.2f}"}
        rows[method] = replace(row, notes=notes | {"merged": as_bare[method]})
    return list(rows.values())


def prepare(method: str, size: str) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return what loads a method's code, a backward pass of two inputs without a trace, and its first whole step."""
    model = bare(size)
    pcclora.attach(model, dict(configs(model))[method])

    def warm_up() -> None:
        loss_of(model, batch(size, 2)).backward()  # type: ignore[no-untyped-call]
        model.zero_grad()

    return warm_up, training_step(model, batch(size))


def _sharing(base: nn.Module) -> Any:
    """Return a copy of a model that shares its tensors: what an adapter trains of them, it has copies of its own of."""
    return copy.deepcopy(base, {id(tensor): tensor for tensor in (*base.parameters(), *base.buffers())})


def _count(step: Callable[[], object], model: nn.Module) -> tuple[int, int]:
    """Return the products of a step, and how many blocks record a graph for its backward pass."""
    recorded = []
    hooks = [
        model.get_submodule(place.module).register_forward_hook(lambda *call: recorded.append(call[-1].requires_grad))
        for place in find_places(model, ["block"])
    ]
    macs = count_call_macs(step)
    for hook in hooks:
        hook.remove()
    return macs, sum(recorded)


def _costs(model: nn.Module, call: Callable[[], object], bare_macs: int) -> str:
    """Return what a method costs when it is merged: ``bare`` for the bare model's products; nothing if it cannot be."""
    if not hasattr(model, "adapters"):
        return ""
    try:
        pcclora.merge(model)
    except PccloraError:
        return ""
    macs = count_call_macs(call)
    pcclora.unmerge(model)
    return "bare" if macs == bare_macs else f"{macs / bare_macs:.2f}"


def _seen(models: dict[str, nn.Module], title: str) -> Iterator[str]:
    yield from tqdm(models, desc=title, unit="method", **BAR)

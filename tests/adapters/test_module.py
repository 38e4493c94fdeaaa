"""An adapted model is an nn.Module like any other: copied, converted, nested, saved, compiled, run in parallel."""

import copy
import io
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import pcclora
from pcclora import CLoRAConfig, FullConfig, LoRAConfig, PccloraError
from tests.adapters.backbones import BACKBONES, CLASSES, fused_vit
from tests.adapters.cases import METHODS, attached, is_the_base, output, refuses, same, several, state, train


@several
def test_a_copy_is_independent(method: str, backbone: str) -> None:
    model, _, x = attached(method, backbone, steps=2)
    twin = copy.deepcopy(model)
    expected, kept = output(model, x), state(model)
    assert torch.equal(output(twin, x), expected)
    train(twin, twin.adapters["default"], x, steps=2)
    assert not same(state(twin), kept)
    assert same(state(model), kept)
    assert torch.equal(output(model, x), expected)
    pcclora.detach(twin)
    assert is_the_base(twin, backbone)
    assert torch.equal(output(model, x), expected)
    base, _ = BACKBONES[backbone]()
    with pcclora.disabled(copy.deepcopy(model)) as _, pcclora.disabled(model):
        assert torch.equal(output(model, x), output(base, x))


@several
def test_another_dtype_reaches_what_is_set_aside(method: str, backbone: str) -> None:
    model, _, x = attached(method, backbone, steps=2)
    expected = output(model, x)
    model.double()
    close = output(model, x.double())
    assert close.dtype == torch.float64
    assert (close - expected).abs().max() <= 1e-5 * expected.abs().max()
    pcclora.detach(model)
    assert is_the_base(model, backbone, torch.float64)

    model, adapter, x = attached(method, backbone, steps=2)
    if not adapter.mergeable:
        return
    pcclora.merge(model)
    model.to(torch.float64)
    pcclora.unmerge(model)
    assert torch.equal(output(model, x.double()), close)


@several
def test_the_state_has_the_bases_keys_and_one_prefix(method: str, backbone: str) -> None:
    model, adapter, x = attached(method, backbone, steps=2)
    base, _ = BACKBONES[backbone]()
    own = [f"adapters.default.{name}" for name in adapter.state_dict()]
    assert list(model.state_dict()) == list(base.state_dict()) + own
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    twin, _, _ = attached(method, backbone)
    twin.load_state_dict(torch.load(file, weights_only=True), strict=True)
    assert same(state(twin), state(model))
    assert torch.equal(output(twin, x), output(model, x))


@several
def test_a_whole_model_can_be_pickled(method: str, backbone: str) -> None:
    model, _, x = attached(method, backbone, steps=2)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    twin = torch.load(file, weights_only=False)
    assert torch.equal(output(twin, x), output(model, x))
    base, _ = BACKBONES[backbone]()
    twin.load_state_dict(base.state_dict(), strict=True)
    train(twin, twin.adapters["default"], x, steps=1)
    pcclora.detach(twin)
    assert is_the_base(twin, backbone)


@pytest.mark.parametrize(
    ("method", "backbone"),
    [
        *[("clora_slices", "mlp"), ("lora", "timm_split_vit"), ("full", "fused_vit"), ("ssf", "timm_vit")],
        *[
            (method, "point_mae_tiny")
            for method in (
                "vpt_deep",
                "idpt",
                "dapt",
                "pointgst",
                "adaptformer",
                "arc",
                "vera",
                "dora",
                "pointlora",
                "ppt",
            )
        ],
    ],
)
def test_it_compiles_to_one_graph(method: str, backbone: str) -> None:
    model, _, x = attached(method, backbone, steps=1)
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert torch.equal(output(compiled, x), output(model, x))


@several
def test_it_is_exported(method: str, backbone: str) -> None:
    model, _, x = attached(method, backbone, steps=1)
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), output(model, x), rtol=1e-5, atol=1e-5)


def test_it_may_be_a_part_of_another_model() -> None:
    model, adapter, x = attached("clora", "fused_vit", steps=1)
    outer = nn.Sequential(model, nn.Linear(CLASSES, 2))
    base = nn.Sequential(fused_vit()[0], nn.Linear(CLASSES, 2))
    kept = state(adapter)
    outer.load_state_dict(base.state_dict(), strict=True)
    assert same(state(adapter), kept)
    with pcclora.disabled(model):
        assert torch.equal(output(outer, x), output(base, x))
    pcclora.merge(model)
    with pytest.raises(PccloraError, match="unmerge it before training"):
        outer.train()


def test_an_error_inside_disabled_brings_the_adapter_back() -> None:
    model, _, x = attached("clora", "fused_vit", steps=2)
    expected = output(model, x)
    with pytest.raises(RuntimeError), pcclora.disabled(model):
        raise RuntimeError
    assert torch.equal(output(model, x), expected)


class Tied(nn.Module):
    """A decoder that uses the encoder's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(4, 4), nn.Linear(4, 4)
        self.decoder.weight = self.encoder.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x).relu())


@pytest.mark.parametrize(
    "settings", [FullConfig(), LoRAConfig(target_modules=("encoder",)), CLoRAConfig(target_modules=("decoder",))]
)
def test_tied_weights_are_refused(settings: Any) -> None:
    with pytest.raises(PccloraError, match="'encoder.weight' and 'decoder.weight' are one tensor"):
        pcclora.attach(Tied(), settings)


def test_a_module_that_is_called_from_two_places_is_adapted_once() -> None:
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    adapter = pcclora.attach(model, LoRAConfig(target_modules=("0",)))
    nn.init.normal_(adapter.groups["4x4"].B)
    x = torch.randn(3, 4)
    apart = output(model, x)
    pcclora.merge(model)
    torch.testing.assert_close(output(model, x), apart)


@pytest.mark.parametrize("method", ["clora_slices", "clora_input", "lora_slices"])
def test_mixed_precision_starts_from_the_bases_output(method: str) -> None:
    base, x = fused_vit()
    model, adapter, _ = attached(method, "fused_vit")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(output(model, x), output(base, x))
        model(x).sum().backward()
    assert all(parameter.grad is not None for parameter in adapter.parameters())


def _one_of_two(rank: int, file: str, method: str, backbone: str, results: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    model, adapter, x = attached(method, backbone, steps=1)
    model.train()
    parallel = DistributedDataParallel(model)
    mine = x[rank::2]
    (F.cross_entropy(parallel(mine), torch.arange(len(mine)) % CLASSES) + adapter.regularization()).backward()
    results[rank] = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow  # two processes that import torch
def test_two_processes_agree_on_the_gradients(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(root)  # for the processes, which import this module by name
    method, backbone = "clora_cosine", "mlp"
    with mp.get_context("spawn").Manager() as manager:
        results = manager.dict()
        mp.spawn(_one_of_two, (os.fspath(tmp_path / "rendezvous"), method, backbone, results), nprocs=2)
        first, second = results[0], results[1]
    model, adapter, x = attached(method, backbone, steps=1)
    model.train()
    half = [F.cross_entropy(model(x[i::2]), torch.arange(len(x[i::2])) % CLASSES) for i in range(2)]
    (sum(half) / 2 + adapter.regularization()).backward()
    expected = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert first.keys() == second.keys() == expected.keys()
    for name, gradient in expected.items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], gradient, rtol=1e-4, atol=1e-7)


def _steps_of_two(rank: int, file: str, methods: list[str], results: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    for method in methods:
        model, adapter, x = attached(method, "point_mae_tiny", steps=1)
        parallel = DistributedDataParallel(model.train())
        for _ in range(2):  # the second finds out what the first has left without a gradient
            model.zero_grad()
            loss = F.cross_entropy(parallel(x.roll(rank, dims=0)), torch.arange(len(x)) % CLASSES)
            (loss + adapter.regularization()).backward()
        results[rank, method] = {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow  # two processes that import torch
def test_every_method_trains_in_two_processes(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(root)
    methods = [method for method in METHODS if not refuses(method, "point_mae_tiny")]
    with mp.get_context("spawn").Manager() as manager:
        results = manager.dict()
        mp.spawn(_steps_of_two, (os.fspath(tmp_path / "rendezvous"), methods, results), nprocs=2)
        assert len(results) == 2 * len(methods)
        for method in methods:
            first, second = results[0, method], results[1, method]
            assert first and all(torch.equal(gradient, second[name]) for name, gradient in first.items()), method

"""What every method promises on every backbone, and what holding several adapters promises."""

import copy
import io
import os
from collections.abc import Callable
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
from pcclora import BitFitConfig, CLoRAConfig, FullConfig, LinearConfig, LoRAConfig, PccloraError
from pcclora.adapters import Adapter
from tests.adapters.backbones import BACKBONES, CLASSES

Case = tuple[nn.Module, Adapter, Tensor]

ATTENTION = ("blocks.*.attn.qkv", "blocks.*.attn.proj")
WHOLE = {
    "mlp": ("fc1", "fc2"),
    "fused_vit": ATTENTION,
    "split_vit": tuple(f"blocks.*.attn.{name}" for name in ("q", "k", "v", "proj")),
    "point_mae_tiny": ATTENTION,
}
SLICED = {
    "mlp": ("fc1[0:4,4:16]", "fc2[0:4,12:16]"),
    "fused_vit": ("blocks.*.attn.qkv[q,v]", "blocks.*.attn.proj", "blocks.*.mlp.fc1"),
    "split_vit": ("blocks.*.attn.k[0:8]", "blocks.*.attn.v", "blocks.*.mlp.fc2"),
    "point_mae_tiny": ("blocks.*.attn.qkv[q,k,v]", "blocks.*.attn.proj"),
}
CLORA: dict[str, dict[str, Any]] = {
    "clora": {},
    "clora_slices": {"sliced": True},
    "clora_input": {"placement": "input"},
    "clora_shared_cores": {"share_cores": True, "diversity": 0.1},
    "clora_cosine": {"diversity_form": "cosine", "diversity": 0.1, "sliced": True},
    "clora_dropout": {"dropout": 0.3, "sliced": True},
    "clora_one_basis": {"bases": 1, "scale": 0.5},
}
LORA: dict[str, dict[str, Any]] = {"lora": {"lora_dropout": 0.1}, "lora_slices": {"sliced": True, "lora_alpha": 4.0}}
SELECTIVE = {"linear": LinearConfig, "bitfit": BitFitConfig, "full": FullConfig}
METHODS = [*CLORA, *LORA, *SELECTIVE]

every = pytest.mark.parametrize(("method", "backbone"), [(m, b) for b in BACKBONES for m in METHODS])
several = pytest.mark.parametrize(
    ("method", "backbone"),
    [
        ("clora_slices", "mlp"),
        ("clora_slices", "point_mae_tiny"),
        ("lora", "split_vit"),
        ("bitfit", "fused_vit"),
        ("full", "fused_vit"),
        ("full", "mlp"),
        ("linear", "point_mae_tiny"),
    ],
)


def config(method: str, backbone: str) -> Any:
    """A method's settings, with targets that fit the backbone."""
    saved = ("head",) if backbone == "mlp" else None
    if method in SELECTIVE:
        return SELECTIVE[method](modules_to_save=saved)
    options = dict({**CLORA, **LORA}[method])
    targets = (SLICED if options.pop("sliced", False) else WHOLE)[backbone]
    if method in CLORA:
        options = {"bases": 2, **options}
    return (CLoRAConfig if method in CLORA else LoRAConfig)(
        r=2, target_modules=targets, modules_to_save=saved, **options
    )


def attached(method: str, backbone: str, *, steps: int = 0, dtype: torch.dtype = torch.float32) -> Case:
    """A backbone with an adapter on it, in eval mode, after some steps of training."""
    model, x = BACKBONES[backbone]()
    model, x = model.to(dtype), x.to(dtype)
    adapter = pcclora.attach(model, config(method, backbone))
    train(model, adapter, x, steps=steps)
    return model, adapter, x


def train(model: nn.Module, adapter: Adapter, x: Tensor, *, steps: int) -> None:
    """A few steps of Adam, without weight decay: what has no gradient does not move."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=1e-2)
    model.train()
    for _ in range(steps):
        optimiser.zero_grad()
        (F.cross_entropy(model(x), torch.arange(len(x)) % CLASSES) + adapter.regularization()).backward()
        optimiser.step()
    model.eval()


def output(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x)


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[key].dtype == b[key].dtype and torch.equal(a[key], b[key]) for key in a)


def is_the_base(model: nn.Module, backbone: str, dtype: torch.dtype = torch.float32) -> bool:
    """Tell whether state, output, types and modes are those of a model that never met an adapter."""
    base, x = BACKBONES[backbone]()
    base, x = base.to(dtype), x.to(dtype)
    return (
        same(state(model), state(base))
        and torch.equal(output(model, x), output(base, x))
        and [(name, type(module)) for name, module in model.named_modules()]
        == [(name, type(module)) for name, module in base.named_modules()]
        and all(vars(model.get_submodule(name)).keys() == vars(module).keys() for name, module in base.named_modules())
        and not model._load_state_dict_pre_hooks
        and not model._load_state_dict_post_hooks
        and all(parameter.requires_grad for parameter in model.parameters())
    )


@every
def test_the_output_at_the_start_is_the_bases(method: str, backbone: str) -> None:
    base, x = BACKBONES[backbone]()
    model, _, _ = attached(method, backbone)
    assert torch.equal(output(model, x), output(base, x))
    assert model(x).requires_grad


@every
def test_training_moves_what_is_trained_and_nothing_else(method: str, backbone: str) -> None:
    model, adapter, x = attached(method, backbone)
    before = state(model)
    asked = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    own = {f"adapters.default.{name}" for name, _ in adapter.named_parameters()}
    assert asked == own | set(adapter.trained_parameters)
    train(model, adapter, x, steps=4)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert asked <= moved
    assert moved <= asked | set(adapter.trained_buffers)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("method", [*CLORA, *LORA])
def test_no_adapter_tensor_is_dead(method: str, backbone: str) -> None:
    model, adapter, x = attached(method, backbone, steps=2)
    there = output(model, x)
    for name, parameter in adapter.named_parameters():
        for i in range(len(parameter)):  # each basis, each target's core or factor
            kept = parameter.detach().clone()
            with torch.no_grad():
                parameter[i] += torch.randn_like(parameter[i])
            assert not torch.equal(output(model, x), there), f"{name}[{i}]"
            parameter.data = kept


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@every
def test_merging_changes_no_output(method: str, backbone: str, dtype: torch.dtype, tolerance: float) -> None:
    model, _, x = attached(method, backbone, steps=3, dtype=dtype)
    apart = output(model, x)
    kept = state(model)
    pcclora.merge(model)
    together = output(model, x)
    assert (together - apart).abs().max() <= tolerance * apart.abs().max()
    if method in [*CLORA, *LORA]:
        assert not same(state(model), kept)
    pcclora.unmerge(model)
    assert same(state(model), kept)
    assert torch.equal(output(model, x), apart)


@several
def test_while_merged_there_is_no_training_and_no_loading(method: str, backbone: str) -> None:
    model, adapter, x = attached(method, backbone, steps=1)
    pcclora.merge(model)
    assert not model(x).requires_grad
    base, _ = BACKBONES[backbone]()
    merged = state(model)
    for action in (
        model.train,
        lambda: model.load_state_dict(base.state_dict()),
        lambda: model.load_state_dict(base.state_dict(), strict=False),
        lambda: pcclora.merge(model),
        lambda: pcclora.attach(model, LinearConfig(modules_to_save=("head",)), name="other"),
        lambda: pcclora.set_adapter(model, "default"),
    ):
        with pytest.raises(PccloraError, match="merge"):
            action()
        assert not any(module.training for module in model.modules())
        assert same(state(model), merged)
    pcclora.unmerge(model)
    with pytest.raises(PccloraError, match="no adapter is merged"):
        pcclora.unmerge(model)
    train(model, adapter, x, steps=1)
    assert not same(state(model), merged)


@every
def test_a_base_state_loads_strictly_before_and_after_attaching(method: str, backbone: str) -> None:
    other, x = BACKBONES[backbone]()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    expected = output(other, x)

    before, _ = BACKBONES[backbone]()
    before.load_state_dict(other.state_dict(), strict=True)
    pcclora.attach(before, config(method, backbone))
    after, _, _ = attached(method, backbone)
    after.load_state_dict(other.state_dict(), strict=True)
    trained, _, _ = attached(method, backbone, steps=2)
    trained.load_state_dict(other.state_dict(), strict=True)

    assert torch.equal(output(before, x), expected)
    assert torch.equal(output(after, x), expected)
    for model in (before, after, trained):
        with pcclora.disabled(model):
            assert torch.equal(output(model, x), expected)


@several
def test_a_state_with_a_hole_or_a_stranger_is_refused(method: str, backbone: str) -> None:
    model, adapter, _ = attached(method, backbone)
    tensors = state(model)
    for name in [*(f"adapters.default.{name}" for name, _ in adapter.named_parameters()), "head.weight"]:
        with pytest.raises(RuntimeError, match="Missing key|Unexpected key"):
            model.load_state_dict(
                {key: tensor for key, tensor in tensors.items() if key != name} | {f"{name}_": torch.ones(1)}
            )
    for name, _ in adapter.named_parameters():
        lacking = {key: tensor for key, tensor in tensors.items() if key != f"adapters.default.{name}"}
        if any(key.startswith("adapters.") for key in lacking):
            with pytest.raises(RuntimeError, match=f"Missing key.*{name}"):
                model.load_state_dict(lacking)


def test_a_base_that_lacks_the_head_leaves_the_original_head() -> None:
    model, _, x = attached("clora", "fused_vit", steps=2)
    base, _ = BACKBONES["fused_vit"]()
    trained_head = model.head[1].weight.detach().clone()
    trunk = {key: value for key, value in base.state_dict().items() if not key.startswith("head")}
    model.load_state_dict(trunk, strict=False)
    assert torch.equal(model.head[1].weight, trained_head)
    assert torch.equal(model.cls_token, base.cls_token)
    with pcclora.disabled(model):
        assert torch.equal(output(model, x), output(base, x))


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

    model, _, x = attached(method, backbone, steps=2)
    pcclora.merge(model)
    model.to(torch.float64)
    pcclora.unmerge(model)
    assert torch.equal(output(model, x.double()), close)


@every
def test_disabling_and_detaching_bring_the_originals_back(method: str, backbone: str) -> None:
    model, _, x = attached(method, backbone, steps=2)
    base, _ = BACKBONES[backbone]()
    trained, kept = output(model, x), state(model)
    asked = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with pcclora.disabled(model):
        assert torch.equal(output(model, x), output(base, x))
        assert not any(parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(output(model, x), trained)
    assert same(state(model), kept)
    again = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert list(map(id, again)) == list(map(id, asked))  # what an optimiser holds is still what trains
    pcclora.merge(model)
    merged = output(model, x)
    with pcclora.disabled(model):
        assert torch.equal(output(model, x), output(base, x))
    assert torch.equal(output(model, x), merged)
    pcclora.unmerge(model)
    pcclora.detach(model)
    assert is_the_base(model, backbone)
    with pytest.raises(PccloraError, match="no adapter"):
        pcclora.detach(model)


@every
def test_detaching_a_merged_adapter_leaves_a_plain_model(method: str, backbone: str) -> None:
    model, adapter, x = attached(method, backbone, steps=3)
    trained = {name: model.get_parameter(name).detach().clone() for name in adapter.trained_parameters}
    pcclora.merge(model)
    merged = output(model, x)
    pcclora.detach(model)
    assert torch.equal(output(model, x), merged)
    plain, _ = BACKBONES[backbone]()
    plain.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(output(plain, x), merged)
    assert [type(module) for module in model.modules()] == [type(module) for module in plain.modules()]
    assert all(torch.equal(model.get_parameter(name), tensor) for name, tensor in trained.items())
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("first", "second"), [("clora", "lora_slices"), ("full", "clora_input"), ("bitfit", "full"), ("linear", "linear")]
)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_named_adapters_leave_each_other_alone(first: str, second: str, backbone: str) -> None:
    model, adapter, x = attached(first, backbone, steps=2)
    base, _ = BACKBONES[backbone]()
    one = output(model, x)
    other = pcclora.attach(model, config(second, backbone), name="other")
    assert torch.equal(output(model, x), output(base, x))  # a new adapter starts from the originals
    train(model, other, x, steps=3)
    two = output(model, x)
    assert not torch.equal(one, two)
    pcclora.set_adapter(model, "default")
    assert torch.equal(output(model, x), one)
    asked = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert asked == {f"adapters.default.{n}" for n, _ in adapter.named_parameters()} | set(adapter.trained_parameters)
    pcclora.set_adapter(model, "other")
    assert torch.equal(output(model, x), two)
    with pcclora.disabled(model):
        assert torch.equal(output(model, x), output(base, x))
    pcclora.detach(model, "default")
    assert torch.equal(output(model, x), two)
    pcclora.detach(model, "other")
    assert is_the_base(model, backbone)


def test_taking_off_the_active_adapter_of_two_leaves_the_originals() -> None:
    model, _, x = attached("clora", "fused_vit", steps=1)
    base, _ = BACKBONES["fused_vit"]()
    pcclora.attach(model, config("bitfit", "fused_vit"), name="other")
    pcclora.set_adapter(model, "default")
    pcclora.merge(model)
    with pytest.raises(PccloraError, match="unmerge it, or detach all"):
        pcclora.detach(model, "other")
    pcclora.unmerge(model)
    pcclora.detach(model, "default")
    assert torch.equal(output(model, x), output(base, x))
    assert type(model.blocks[0].attn.qkv) is nn.Linear
    with pytest.raises(PccloraError, match="no adapter 'defualt'"):
        pcclora.set_adapter(model, "defualt")
    pcclora.set_adapter(model, "other")


@pytest.mark.parametrize("method", ["clora", "linear", "bitfit", "full"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_only_a_trained_batchnorm_leaves_eval_mode(method: str, backbone: str) -> None:
    model, adapter, _ = attached(method, backbone)

    def modes() -> dict[str, bool]:
        return {name: m.training for name, m in model.named_modules() if isinstance(m, nn.BatchNorm1d)}

    model.train()
    there = modes()
    assert there
    assert there == {name: f"{name}.running_mean" in adapter.trained_buffers for name in there}
    with pcclora.disabled(model):
        assert not any(modes().values())
    assert modes() == there
    assert model.training
    assert adapter.training
    model.eval()
    assert not any(module.training for module in model.modules())
    model.train()
    pcclora.detach(model)
    assert all(modes().values())


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


@pytest.mark.parametrize("method", METHODS)
def test_random_numbers_are_drawn_for_new_factors_and_for_dropout_alone(method: str) -> None:
    model, x = BACKBONES["fused_vit"]()
    other, _ = BACKBONES["fused_vit"]()

    def draws(action: Callable[[], Any]) -> bool:
        before = torch.get_rng_state()
        action()
        return not torch.equal(torch.get_rng_state(), before)

    torch.manual_seed(7)
    assert draws(lambda: pcclora.attach(model, config(method, "fused_vit"))) == (method not in SELECTIVE)
    torch.manual_seed(7)
    pcclora.attach(other, config(method, "fused_vit"))
    assert same(state(model), state(other))  # the same seed, the same adapter
    model.train()
    assert draws(lambda: model(x)) == (method in ("clora_dropout", "lora"))
    model.eval()
    assert not draws(lambda: model(x))
    assert not draws(lambda: pcclora.merge(model))


@pytest.mark.parametrize(
    ("bad", "name"),
    [
        (CLoRAConfig(target_modules=("blocks.*.attn.qvk",)), "other"),
        (CLoRAConfig(target_modules=("blocks.*.attn.proj",), modules_to_save=("blocks",)), "other"),
        (LoRAConfig(modules_to_save=("tail",)), "other"),
        (LinearConfig(modules_to_save=()), "other"),
        (LinearConfig(), "default"),
        (LinearConfig(), "keys"),
        (LinearConfig(), "merged"),
        (LinearConfig(), "training"),
        (LinearConfig(), "a.b"),
        (object(), "other"),
    ],
)
def test_a_failing_attach_changes_nothing(bad: Any, name: str) -> None:
    plain, _ = BACKBONES["fused_vit"]()
    if name != "default":
        with pytest.raises(PccloraError):
            pcclora.attach(plain, bad, name=name)
    assert is_the_base(plain, "fused_vit")

    model, _, x = attached("clora", "fused_vit", steps=2)
    expected, kept = output(model, x), state(model)
    asked = [parameter.requires_grad for parameter in model.parameters()]
    with pytest.raises(PccloraError):
        pcclora.attach(model, bad, name=name)
    assert torch.equal(output(model, x), expected)
    assert same(state(model), kept)
    assert [parameter.requires_grad for parameter in model.parameters()] == asked
    pcclora.detach(model)
    assert is_the_base(model, "fused_vit")


def test_a_model_with_adapters_of_its_own_is_refused() -> None:
    model, _ = BACKBONES["mlp"]()
    model.adapters = nn.Linear(2, 2)
    with pytest.raises(PccloraError, match="an attribute 'adapters' of its own"):
        pcclora.attach(model, LinearConfig(modules_to_save=("head",)))


@pytest.mark.parametrize(
    ("method", "backbone"), [("clora_slices", "mlp"), ("lora", "split_vit"), ("full", "fused_vit")]
)
def test_it_compiles_to_one_graph(method: str, backbone: str) -> None:
    model, _, x = attached(method, backbone, steps=1)
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert torch.equal(output(compiled, x), output(model, x))


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

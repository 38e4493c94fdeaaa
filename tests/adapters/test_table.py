"""The table: what every method keeps on every backbone, whether that takes points, images or plain vectors.

One adapter at a time, from the first forward to the file: the output at the start, what trains, what is live, merging,
the plain form of the update and of SADE, taking it off, saving, loading, and refusing what is damaged.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pcclora
from pcclora import CLoRAConfig, LinearConfig, LoRAConfig, PccloraError, list_models
from pcclora.adapters import Adapter, adapter_tensors
from pcclora.adapters.files.folder import TENSORS
from tests.adapters.backbones import BACKBONES, CLASSES, point_transformer
from tests.adapters.cases import (
    CLORA,
    LORA,
    SELECTIVE,
    TABLE,
    attached,
    config,
    every,
    is_the_base,
    output,
    refused,
    same,
    state,
    train,
)
from tests.adapters.files import assert_refused, read, rewrite
from tests.adapters.twins import naive_sade, products

low_rank = pytest.mark.parametrize(("method", "backbone"), [(m, b) for b in TABLE for m in [*CLORA, *LORA]])
shared = pytest.mark.parametrize(("method", "backbone"), [(m, b) for b in TABLE for m in CLORA])
saved = pytest.mark.parametrize(("method", "backbone"), [(m, b) for b in TABLE for m in ("clora_slices", "lora")])


@every
def test_the_output_at_the_start_is_the_bases(method: str, backbone: str) -> None:
    base, x = BACKBONES[backbone]()
    model, adapter, _ = attached(method, backbone)
    assert torch.equal(output(model, x), output(base, x)) is adapter.starts_at_base
    assert model(x).requires_grad


@refused
def test_a_model_without_a_place_for_a_method_says_which_it_has(method: str, backbone: str) -> None:
    model, _ = BACKBONES[backbone]()
    with pytest.raises(PccloraError, match=r"has no place '\w+', where this method acts; it (has|declares no)"):
        pcclora.attach(model, config(method, backbone))
    assert is_the_base(model, backbone)


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
    assert moved <= asked | set(adapter.trained_buffers) | {f"adapters.default.{n}" for n, _ in adapter.named_buffers()}


@every
def test_every_trained_tensor_has_had_a_gradient_after_two_steps(method: str, backbone: str) -> None:
    model, adapter, x = attached(method, backbone)
    asked = {name: p for name, p in model.named_parameters() if p.requires_grad}
    alive: set[str] = set()
    for steps in (0, 1, 1):
        train(model, adapter, x, steps=steps)
        (
            torch.nn.functional.cross_entropy(model(x), torch.arange(len(x)) % CLASSES) + adapter.regularization()
        ).backward()
        alive |= {name for name, p in asked.items() if p.grad is not None and p.grad.any()}
        model.zero_grad()
    assert alive == asked.keys()


@every
def test_the_answer_for_one_does_not_depend_on_the_others(method: str, backbone: str) -> None:
    model, _, x = attached(method, backbone, steps=2)
    together = output(model, x)
    others = x.flip(0).roll(1, dims=1) if x.ndim == 3 else torch.randn_like(x)
    for row in range(len(x)):
        mixed = others.clone()
        mixed[row] = x[row]
        for batch, place in ((x[row : row + 1], 0), (mixed, row)):
            difference = (output(model, batch)[place] - together[row]).abs().max()
            assert difference <= 2e-6 * together.abs().max()


@every
def test_the_order_of_points_does_not_matter(method: str, backbone: str) -> None:
    if backbone not in ("point_mae_tiny", "part_segmenter"):
        return
    model, _, x = attached(method, backbone, steps=2)
    order = torch.cat(
        [torch.zeros(1, dtype=torch.long), 1 + torch.randperm(x.shape[1] - 1)]
    )  # sampling starts at the first
    torch.testing.assert_close(output(model, x[:, order]), output(model, x), rtol=1e-4, atol=1e-4)


@every
def test_a_training_step_needs_no_number_on_the_host(method: str, backbone: str) -> None:
    model, adapter, x = attached(method, backbone)
    model.to("meta").train()
    loss = model(x.to("meta")).square().mean() + adapter.regularization()
    loss.backward()
    assert loss.device.type == "meta"
    assert all(p.grad is not None and p.grad.device.type == "meta" for p in model.parameters() if p.requires_grad)


@low_rank
def test_every_adapter_tensor_has_a_gradient_and_none_is_dead(method: str, backbone: str) -> None:
    model, adapter, x = attached(method, backbone, steps=2)
    assert live(model, adapter, x)


TRANSFORMERS = [name for name in list_models() if name not in ("dgcnn", "pointnet", "vit_mini")]  # whose is timm_vit's


@pytest.mark.parametrize("name", TRANSFORMERS)
@pytest.mark.parametrize("settings", [CLoRAConfig(), CLoRAConfig(placement="input"), LoRAConfig()])
def test_no_default_target_of_a_family_is_dead(name: str, settings: Any) -> None:
    model, x = point_transformer(name)
    adapter = pcclora.attach(model, settings)
    train(model, adapter, x, steps=2)
    assert live(model, adapter, x)


def live(model: nn.Module, adapter: Adapter, x: Tensor) -> bool:
    """Tell whether each basis, core and factor has a gradient, and a change of it changes the output."""
    model(x).square().sum().backward()
    there, dead = output(model, x), []
    for name, parameter in adapter.named_parameters():
        assert parameter.grad is not None
        for i in range(len(parameter)):
            kept = parameter.detach().clone()
            with torch.no_grad():
                parameter[i] += torch.randn_like(parameter[i])
            if torch.equal(output(model, x), there) or not parameter.grad[i].any():
                dead.append(f"{name}[{i}]")
            parameter.data = kept
    assert not dead
    return True


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@every
def test_merging_changes_no_output(method: str, backbone: str, dtype: torch.dtype, tolerance: float) -> None:
    model, adapter, x = attached(method, backbone, steps=3, dtype=dtype)
    apart = output(model, x)
    kept = state(model)
    if not adapter.mergeable:
        with pytest.raises(PccloraError, match=r"no weight of the model can take up what \w+ does"):
            pcclora.merge(model)
        assert same(state(model), kept)
        return
    pcclora.merge(model)
    together = output(model, x)
    assert (together - apart).abs().max() <= tolerance * apart.abs().max()
    if method not in SELECTIVE:
        assert not same(state(model), kept)
    pcclora.unmerge(model)
    assert same(state(model), kept)
    assert torch.equal(output(model, x), apart)


@shared
def test_the_merged_weights_are_the_sum_over_the_bases(method: str, backbone: str) -> None:
    model, adapter, _ = attached(method, backbone, steps=3, dtype=torch.float64)
    expected: dict[str, Tensor] = {}
    for module, rows, W in products(adapter):
        weight = expected.setdefault(module, model.get_parameter(f"{module}.weight").detach().clone())
        dW = adapter.config.scale * W.sum(0).detach()
        weight[rows] += weight @ dW.T if adapter.config.placement == "input" else dW.T
    pcclora.merge(model)
    for module, weight in expected.items():
        torch.testing.assert_close(model.get_parameter(f"{module}.weight").data, weight, rtol=1e-12, atol=1e-12)


@shared
def test_sade_and_its_gradient_are_the_plain_form(method: str, backbone: str) -> None:
    _, adapter, _ = attached(method, backbone, steps=3, dtype=torch.float64)
    found, plain = adapter.regularization(), naive_sade(adapter)
    torch.testing.assert_close(found, plain, rtol=1e-12, atol=0)
    if adapter.config.bases > 1:
        assert found > 0
        ours, naive = (torch.autograd.grad(value, [*adapter.parameters()]) for value in (found, plain))
        torch.testing.assert_close(ours, naive, rtol=1e-10, atol=1e-12)


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

    if before.adapters["default"].starts_at_base:
        assert torch.equal(output(before, x), expected)
        if not method.startswith("dora"):  # its lengths are those of the weights that it was attached to
            assert torch.equal(output(after, x), expected)
    for model in (before, after, trained):
        with pcclora.disabled(model):
            assert torch.equal(output(model, x), expected)


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
    if model.adapters["default"].mergeable:
        pcclora.merge(model)
        merged = output(model, x)
        with pcclora.disabled(model):
            assert torch.equal(output(model, x), output(base, x))
        assert torch.equal(output(model, x), merged)
        pcclora.unmerge(model)
    pcclora.attach(model, LinearConfig(modules_to_save=("head",) if backbone == "mlp" else None), name="other")
    assert torch.equal(output(model, x), output(base, x))  # of an adapter that is not active there is no trace
    pcclora.detach(model, "other")
    pcclora.detach(model)
    assert is_the_base(model, backbone)
    with pytest.raises(PccloraError, match="no adapter"):
        pcclora.detach(model)


@every
def test_detaching_a_merged_adapter_leaves_a_plain_model(method: str, backbone: str) -> None:
    model, adapter, x = attached(method, backbone, steps=3)
    if not adapter.mergeable:
        return
    trained = {name: model.get_parameter(name).detach().clone() for name in adapter.trained_parameters}
    pcclora.merge(model)
    merged = output(model, x)
    pcclora.detach(model)
    assert torch.equal(output(model, x), merged)
    plain, _ = BACKBONES[backbone]()
    for name in model.state_dict().keys() - plain.state_dict().keys():  # a bias that merging made
        owner, _, leaf = name.rpartition(".")
        assert leaf == "bias" and method.startswith(("ssf", "arc", "repadapter", "consolidator"))
        plain.get_submodule(owner).register_parameter(leaf, nn.Parameter(model.get_parameter(name).detach().clone()))
    plain.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(output(plain, x), merged)
    assert [type(module) for module in model.modules()] == [type(module) for module in plain.modules()]
    assert all(torch.equal(model.get_parameter(name), tensor) for name, tensor in trained.items())
    assert all(parameter.requires_grad for parameter in model.parameters())


@every
def test_a_saved_adapter_comes_back_bit_for_bit(method: str, backbone: str, tmp_path: Path) -> None:
    model, _, x = attached(method, backbone, steps=2)
    pcclora.save_adapter(model, tmp_path)
    fresh, _ = BACKBONES[backbone]()
    random = torch.get_rng_state()
    adapter = pcclora.load_adapter(fresh, tmp_path)
    assert torch.equal(torch.get_rng_state(), random)
    assert fresh.adapters["default"] is adapter and fresh.adapters.active == "default"
    assert same(adapter_tensors(fresh), adapter_tensors(model))
    assert torch.equal(output(fresh.eval(), x), output(model, x))
    trained, again = (sum(p.numel() for p in m.parameters() if p.requires_grad) for m in (model, fresh))
    assert trained == again
    file, _ = read(tmp_path)
    kept = adapter.state_dict().keys() - {name for name, _ in adapter.named_parameters()}
    moved = [
        *(model.get_buffer(name) for name in adapter.trained_buffers),
        *(adapter.state_dict()[key] for key in kept),
    ]
    assert trained + sum(map(torch.numel, moved)) == sum(tensor.numel() for tensor in file.values())


@saved
def test_a_damaged_file_is_refused_and_the_model_stays(method: str, backbone: str, tmp_path: Path) -> None:
    model, _, _ = attached(method, backbone, steps=1)
    pcclora.save_adapter(model, tmp_path)
    whole = (tmp_path / TENSORS).read_bytes()
    key = next(key for key, tensor in read(tmp_path)[0].items() if tensor.dim() >= 2)

    def refused(match: str, change: Any) -> None:
        (tmp_path / TENSORS).write_bytes(whole)
        rewrite(tmp_path, change)
        assert_refused(tmp_path, f"{TENSORS}: {match}", backbone)

    refused(f"missing '{key}'; use all of the file, with the", lambda tensors: tensors.pop(key))
    refused(f"unknown '{key}2'; use all of the", lambda tensors: tensors.update({f"{key}2": torch.zeros(3)}))
    refused(f"'{key}' holds 2 values that are NaN or", lambda tensors: tensors[key].view(-1)[:2].fill_(torch.nan))
    refused(f"'{key}' holds 2 values that are NaN or", lambda tensors: tensors[key].view(-1)[:2].fill_(torch.inf))
    narrow = read(tmp_path)[0][key][..., :1].contiguous()
    refused(f"'{key}' has shape .*, .* is expected: another rank", lambda tensors: tensors.update({key: narrow}))
    flipped = bytearray(whole)
    flipped[-5] ^= 1
    for damaged, message in (
        (flipped, "has sha256 .* was written with .*: it is damaged; copy or download it"),
        (whole[:-9], "truncated"),
    ):
        (tmp_path / TENSORS).write_bytes(damaged)
        assert_refused(tmp_path, f"{TENSORS}: {message}", backbone)


@saved
def test_other_base_weights_are_refused(method: str, backbone: str, tmp_path: Path) -> None:
    model, adapter, _ = attached(method, backbone, steps=1)
    pcclora.save_adapter(model, tmp_path)
    other, _ = BACKBONES[backbone]()
    with torch.no_grad():
        other.get_parameter(f"{adapter.targets[0].module}.weight")[0, 0] += 1e-6
    before = state(other)
    with pytest.raises(PccloraError, match=r"trained on other base weights \(fingerprint .*load the checkpoint"):
        pcclora.load_adapter(other, tmp_path)
    assert same(state(other), before) and not hasattr(other, "adapters")

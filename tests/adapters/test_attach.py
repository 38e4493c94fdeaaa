"""Several adapters on one model, merged ones, modes, random numbers, and what a failing ``attach`` leaves alone."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import pcclora
from pcclora import CLoRAConfig, LinearConfig, LoRAConfig, PccloraError
from tests.adapters.backbones import BACKBONES, mlp
from tests.adapters.cases import (
    METHODS,
    attached,
    config,
    is_the_base,
    output,
    refuses,
    same,
    several,
    state,
    train,
)


@several
def test_while_merged_there_is_no_training_and_no_loading(method: str, backbone: str) -> None:
    model, adapter, x = attached(method, backbone, steps=1)
    if not adapter.mergeable:
        return
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
@pytest.mark.parametrize("backbone", ["mlp", "fused_vit", "point_mae_tiny"])  # timm's have none
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


@pytest.mark.parametrize("method", [method for method in METHODS if not refuses(method, "fused_vit")])
def test_random_numbers_are_drawn_for_new_factors_and_for_dropout_alone(method: str) -> None:
    model, x = BACKBONES["fused_vit"]()
    other, _ = BACKBONES["fused_vit"]()

    def draws(action: Callable[[], Any]) -> bool:
        before = torch.get_rng_state()
        action()
        return not torch.equal(torch.get_rng_state(), before)

    elsewhere, _ = BACKBONES["fused_vit"]()
    torch.manual_seed(8)
    pcclora.attach(elsewhere, config(method, "fused_vit"))
    torch.manual_seed(7)
    drawn = draws(lambda: pcclora.attach(model, config(method, "fused_vit")))
    assert drawn != same(state(model), state(elsewhere))  # another seed, another adapter, or none is drawn
    torch.manual_seed(7)
    pcclora.attach(other, config(method, "fused_vit"))
    assert same(state(model), state(other))  # the same seed, the same adapter
    model.train()
    settings = vars(config(method, "fused_vit"))
    assert draws(lambda: model(x)) == any("drop" in name and value > 0 for name, value in settings.items())
    model.eval()
    assert not draws(lambda: model(x))
    if model.adapters["default"].mergeable:
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


def test_the_parameters_are_reported_in_the_words_of_peft() -> None:
    peft = pytest.importorskip("peft")
    config: dict[str, Any] = {"r": 2, "target_modules": ["fc1", "fc2"], "modules_to_save": ["head"]}
    model, _ = mlp()
    pcclora.attach(model, pcclora.LoRAConfig(**config))
    stream = io.StringIO()
    pcclora.print_trainable_parameters(model, stream=stream)
    theirs = peft.get_peft_model(mlp()[0], peft.LoraConfig(**config))
    trainable, _ = theirs.get_nb_trainable_parameters()
    total = sum(p.numel() for p in model.parameters())  # theirs counts the head twice
    assert stream.getvalue() == (
        f"trainable params: {trainable:,d} || all params: {total:,d} || trainable%: {100 * trainable / total:.4f}\n"
    )


def test_the_parameters_are_reported_to_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    pcclora.print_trainable_parameters(nn.Linear(3, 4))
    assert capsys.readouterr().out == "trainable params: 16 || all params: 16 || trainable%: 100.0000\n"

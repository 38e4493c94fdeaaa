"""CLoRA inside Hugging Face peft: the same numbers as here, in everything that a user of peft does."""

import copy
import importlib
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import pcclora
from pcclora import CLoRAConfig, PccloraError
from pcclora.adapters.targets import attention_targets
from tests.adapters.backbones import BACKBONES, CLASSES, bare_vit
from tests.adapters.cases import output, same, state

peft = pytest.importorskip("peft", reason="peft is not installed (pip install pcclora[peft])")
hf_peft = importlib.import_module("pcclora.adapters.hf_peft")

OLDEST = "0.18.0"
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "shared cores": {"share_cores": True, "diversity": 0.1, "diversity_form": "cosine"},
    "input": {"placement": "input", "scale": 0.5},
    "dropout": {"dropout": 0.3, "bases": 1},
    "role": {"share": "role"},
}
every = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
vits = pytest.mark.parametrize("backbone", ["timm_vit", "timm_split_vit", "fused_vit"])


def theirs(settings: dict[str, Any] | None = None, backbone: str = "timm_vit") -> tuple[nn.Module, Tensor]:
    """A model that peft has given CLoRA, and an input."""
    model, x = BACKBONES[backbone]()
    model = bare_vit() if backbone == "timm_vit" else model
    torch.manual_seed(5)
    options: dict[str, Any] = {"r": 2, "bases": 3, "modules_to_save": ["head"], **(settings or {})}
    return peft.get_peft_model(model, hf_peft.CLoraConfig(**options)).eval(), x


def ours(settings: dict[str, Any] | None = None, backbone: str = "timm_vit") -> tuple[nn.Module, Callable[[], Tensor]]:
    """The same by ``attach``, and what it adds to the loss."""
    model, _ = BACKBONES[backbone]()
    torch.manual_seed(5)
    options: dict[str, Any] = {"r": 2, "bases": 3, "modules_to_save": ("head",), **(settings or {})}
    return model, pcclora.attach(model, CLoRAConfig(**options)).regularization


def train(model: nn.Module, x: Tensor, penalty: Callable[[], Tensor], steps: int = 3) -> list[float]:
    torch.manual_seed(6)  # dropout
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.train()
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(x), torch.arange(len(x)) % CLASSES) + penalty()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    model.eval()
    return losses


def trained(settings: dict[str, Any] | None = None, backbone: str = "timm_vit") -> tuple[nn.Module, Tensor]:
    model, x = theirs(settings, backbone)
    train(model, x, model.regularization)
    return model, x


def asked(model: nn.Module) -> list[str]:
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


@vits
@every
def test_training_in_peft_is_training_here(settings: dict[str, Any], backbone: str) -> None:
    (model, x), (own, penalty) = theirs(settings, backbone), ours(settings, backbone)
    base, _ = BACKBONES[backbone]()
    assert torch.equal(output(model, x), output(base, x))
    if backbone == "fused_vit":  # peft lets the statistics of a frozen BatchNorm move; here is none but the head's
        model.base_model.model.head.train()
    losses = train(model, x, model.regularization)
    assert losses == train(own, x, penalty)
    assert torch.equal(output(model, x), output(own, x))
    assert torch.equal(model.regularization(), penalty())
    assert (output(model, x) - output(base, x)).abs().max() > 1e-3


def test_exactly_the_adapter_and_the_saved_modules_train() -> None:
    model, x = theirs()
    head = [f"base_model.model.head.modules_to_save.default.{leaf}" for leaf in ("weight", "bias")]
    assert asked(model) == [*head, *(f"base_model.clora_24x24.default.{factor}" for factor in "DUQ")]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train(model, x, model.regularization)
    moved = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]
    assert sorted(moved) == sorted(asked(model))
    trainable, _ = model.get_nb_trainable_parameters()
    assert trainable == sum(parameter.numel() for parameter in ours()[0].parameters() if parameter.requires_grad)


def test_the_parameters_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    theirs()[0].print_trainable_parameters()
    assert f"trainable params: {3 * (2 * 24 * 2 + 8 * 2 * 2) + 24 * CLASSES + CLASSES:,d}" in capsys.readouterr().out


@every
def test_what_peft_saves_it_loads(settings: dict[str, Any], tmp_path: Path) -> None:
    model, x = trained(settings)
    model.save_pretrained(tmp_path)
    numbers = sum(tensor.numel() for tensor in load_file(tmp_path / "adapter_model.safetensors").values())
    assert numbers == model.get_nb_trainable_parameters()[0]  # the shared bases once
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # peft only warns of tensors that it does not find
        loaded = peft.PeftModel.from_pretrained(bare_vit(), tmp_path).eval()
        other = peft.PeftModel.from_pretrained(bare_vit(), tmp_path, adapter_name="other", is_trainable=True).eval()
    assert torch.equal(output(loaded, x), output(model, x)) and torch.equal(output(other, x), output(model, x))
    assert not asked(loaded)
    assert len(asked(other)) == len(asked(model))
    assert {type(config) for config in loaded.peft_config.values()} == {hf_peft.CLoraConfig}


@every
def test_a_folder_of_one_loads_in_the_other(settings: dict[str, Any], tmp_path: Path) -> None:
    model, x = trained(settings)
    model.save_pretrained(tmp_path / "theirs")
    own, _ = BACKBONES["timm_vit"]()
    with pytest.warns(UserWarning, match="has no fingerprint"):
        adapter = pcclora.load_adapter(own, tmp_path / "theirs")
    assert adapter.modules_to_save == ("head",)
    assert torch.equal(output(own.eval(), x), output(model, x))
    pcclora.save_adapter(own, tmp_path / "ours")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = peft.PeftModel.from_pretrained(bare_vit(), tmp_path / "ours").eval()
    assert torch.equal(output(back, x), output(model, x))
    again, _ = BACKBONES["timm_vit"]()
    pcclora.load_adapter(again, tmp_path / "ours")
    assert torch.equal(output(again, x), output(model, x))
    assert pcclora.load_adapter(again, tmp_path / "ours") is again.adapters["default"]


def test_a_folder_without_saved_modules_is_read_as_such(tmp_path: Path) -> None:
    model, x = theirs({"modules_to_save": None}, "fused_vit")
    train(model, x, model.regularization)
    model.save_pretrained(tmp_path)
    own, _ = BACKBONES["fused_vit"]()
    with pytest.warns(UserWarning, match="has no fingerprint"):
        assert pcclora.load_adapter(own, tmp_path).modules_to_save == ()  # though the model declares some


@every
def test_merging_changes_no_output_and_is_undone_bit_for_bit(settings: dict[str, Any]) -> None:
    model, x = trained(settings)
    apart, weights = output(model, x), state(model)
    model.merge_adapter(safe_merge=True)
    together = output(model, x)
    assert not same(state(model), weights)
    assert (together - apart).abs().max() <= 1e-5 * apart.abs().max()
    model.unmerge_adapter()
    assert same(state(model), weights) and torch.equal(output(model, x), apart)
    model.merge_adapter()
    model.double().unmerge_adapter()  # what is kept moves along
    assert same(state(model.float()), weights)
    model.merge_adapter()
    with model.disable_adapter():
        assert torch.equal(output(model, x), output(BACKBONES["timm_vit"]()[0], x))
    plain = model.merge_and_unload()
    assert torch.equal(output(plain, x), together)
    base = bare_vit()
    assert [(n, type(m)) for n, m in plain.named_modules()] == [(n, type(m)) for n, m in base.named_modules()]


def test_unloading_and_disabling_bring_the_base_back() -> None:
    model, x = trained({"modules_to_save": None})
    base, _ = BACKBONES["timm_vit"]()
    with model.disable_adapter():
        assert torch.equal(output(model, x), output(base, x))
        assert not asked(model)
    assert len(asked(model)) == 3
    assert same(state(model.unload()), state(base))


def test_several_adapters_are_kept_apart(tmp_path: Path) -> None:
    model, x = trained()
    first = output(model, x)
    config = hf_peft.CLoraConfig(r=1, bases=1, target_modules=["attn.qkv[q,v]", "mlp.fc1"], modules_to_save=["head"])
    model.add_adapter("second", config)
    assert config.target_modules is not None and config.target_modules[:3] == (
        *(f"blocks.0.attn.qkv[{letter}]" for letter in "qv"),
        "blocks.0.mlp.fc1",
    )
    assert torch.equal(output(model, x), first)
    model.set_adapter("second")
    assert torch.equal(output(model, x), output(BACKBONES["timm_vit"]()[0], x))
    assert all(".second." in name for name in asked(model))
    train(model, x, model.regularization)
    second = output(model, x)
    model.save_pretrained(tmp_path)
    model.set_adapter("default")
    assert torch.equal(output(model, x), first)
    loaded = peft.PeftModel.from_pretrained(bare_vit(), tmp_path / "second").eval()
    assert torch.equal(output(loaded, x), second)
    loaded.load_adapter(tmp_path / "default" if (tmp_path / "default").is_dir() else tmp_path, "first")
    loaded.set_adapter("first")
    assert torch.equal(output(loaded, x), first)
    model.set_adapter("default")
    model.delete_adapter("second")
    assert torch.equal(output(model, x), first)
    assert not [name for name, _ in model.named_parameters() if ".second." in name]


def test_two_adapters_at_once_are_refused() -> None:
    model, x = theirs({"modules_to_save": None})
    model.add_adapter("second", hf_peft.CLoraConfig(r=1))
    model.base_model.set_adapter(["default", "second"])
    with pytest.raises(PccloraError, match="adapters default, second at once; CLoRA has one at a time"):
        model(x)


def test_a_copy_has_numbers_of_its_own() -> None:
    model, x = trained()
    before = output(model, x)
    other = copy.deepcopy(model)
    assert torch.equal(output(other, x), before)
    train(other, x, other.regularization)
    assert not torch.equal(output(other, x), before) and torch.equal(output(model, x), before)


@pytest.mark.parametrize(
    ("targets", "found"),
    [
        (["proj"], ["attn.proj"]),
        (["attn.qkv"], ["attn.qkv"]),
        (["qkv[v,q]", "attn.proj"], ["attn.qkv[q]", "attn.qkv[v]", "attn.proj"]),
        (["blocks.*.mlp.fc2"], ["mlp.fc2"]),
        (None, ["attn.qkv[q]", "attn.qkv[k]", "attn.qkv[v]", "attn.proj"]),
    ],
)
def test_target_modules_are_endings_with_rows(targets: list[str] | None, found: list[str]) -> None:
    model, _ = theirs({"target_modules": targets}, "fused_vit")
    names = [f"blocks.{i}.{name}" for i in range(2) for name in found]
    assert list(model.peft_config["default"].target_modules) == names
    assert model.targeted_module_names == list(dict.fromkeys(name.partition("[")[0] for name in names))


def test_a_whole_name_means_that_module_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ModuleDict({"0": nn.Linear(4, 4)}))
    peft.get_peft_model(model, hf_peft.CLoraConfig(target_modules=["0"]))
    assert type(model[1]["0"]) is nn.Linear


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_modules": ["qvk"]}, "target 'qvk' matches nothing in this model"),
        ({"target_modules": ["proj"]}, "'patch_embed.proj' is no plain nn.Linear but Conv2d"),
        ({"target_modules": "all-linear"}, r"target_modules is the string 'all-linear'; write a list of patterns"),
        ({"r": 0}, "r is 0"),
        ({"placement": "output"}, "placement is 'output'"),
    ],
)
def test_what_has_no_meaning_is_refused_and_the_model_stays(settings: dict[str, Any], message: str) -> None:
    model, _ = BACKBONES["timm_vit"]()
    before = state(model)
    with pytest.raises(PccloraError, match=re.compile(message)):
        peft.get_peft_model(model, hf_peft.CLoraConfig(**settings))
    assert same(state(model), before)


def test_lora_of_peft_works_as_before() -> None:
    model, x = BACKBONES["timm_vit"]()
    wrapped = peft.get_peft_model(model, peft.LoraConfig(target_modules=["qkv"], init_lora_weights=False))
    assert not torch.equal(output(wrapped.eval(), x), output(BACKBONES["timm_vit"]()[0], x))
    assert attention_targets(BACKBONES["timm_vit"]()[0])


def test_the_entry_is_a_member_like_the_others() -> None:
    kinds = hf_peft.PeftType
    member = kinds("CLORA")
    assert member is kinds.CLORA is kinds["CLORA"] is hf_peft.extend_peft_types("CLORA")
    assert isinstance(member, kinds) and member == "CLORA" and member.name == member.value == "CLORA"
    assert list(kinds).count(member) == 1 and list(kinds)[-1] is member and "CLORA" in kinds.__members__
    assert kinds("LORA") is kinds.LORA != member
    assert repr(member) == "<PeftType.CLORA: 'CLORA'>" and copy.deepcopy(member) is member
    with pytest.raises(ValueError, match="CLORRA"):
        kinds("CLORRA")


class Sealed:
    """An enum that takes no further member."""

    __members__: ClassVar[dict[str, Any]] = {}


def test_where_the_enum_takes_no_entry_the_versions_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf_peft, "PeftType", Sealed)
    with pytest.raises(
        PccloraError, match=r"cannot be registered with peft [\d.]+ \(.*; it can with 0.18 to 0.21: pip"
    ):
        hf_peft.extend_peft_types("CLORA")


def test_where_tuners_lack_methods_the_versions_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf_peft.CLoraModel, "__abstractmethods__", frozenset({"enable_adapter_layers"}))  # as in 0.17
    with pytest.raises(PccloraError, match=r"its tuners do not have enable_adapter_layers\); it can with 0.18 to 0.21"):
        hf_peft._register()


def test_where_the_name_is_taken_the_versions_are_named() -> None:
    with pytest.raises(PccloraError, match=r"already PEFT method called 'clora'.*it can with 0.18 to 0.21: pip"):
        hf_peft._register()


def test_without_peft_the_line_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "peft"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "peft", None)
    monkeypatch.delitem(sys.modules, "pcclora.adapters.hf_peft")
    with pytest.raises(PccloraError, match=r"cannot be imported .*; install it: pip install 'pcclora\[peft\]'"):
        importlib.import_module("pcclora.adapters.hf_peft")


@pytest.mark.slow
def test_the_oldest_peft_does_all_this_too(root: Path) -> None:
    oldest = root / ".venv" / "peft-oldest"
    if not (oldest / "peft").is_dir():
        pytest.skip("the oldest peft is not there: make .venv/peft-oldest")
    path = os.pathsep.join([str(oldest), os.environ.get("PYTHONPATH", "")])
    tests = ["tests/adapters/test_hf_peft.py", "tests/adapters/test_peft.py", "tests/docs/test_peft.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *tests],
        cwd=root,
        env={**os.environ, "PYTHONPATH": path, "PCCLORA_TEST_PEFT": OLDEST},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_this_is_the_peft_that_was_asked_for(root: Path) -> None:
    wanted = os.environ.get("PCCLORA_TEST_PEFT")
    assert wanted in (None, peft.__version__)
    extra = re.search(r'^peft = \["peft>=(.*)"\]', (root / "pyproject.toml").read_text(), re.MULTILINE)
    assert extra is not None and OLDEST.startswith(extra[1]) and hf_peft.SUPPORTED.startswith(extra[1])
    assert f"peft=={OLDEST}" in (root / "Makefile").read_text()

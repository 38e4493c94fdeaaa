"""Files of adapters: what is saved comes back, and everything that is not right is refused with the model unchanged."""

import io
import json
import os

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from pcclora import adapters as ad
from pcclora.adapters.folder import CONFIG, TENSORS, _checksum
from pcclora.errors import PccloraError
from tests.adapters.backbones import BACKBONES, fused_vit, mlp

METHODS = {
    "clora": lambda: ad.CLoRAConfig(r=2, bases=2),
    "clora_input": lambda: ad.CLoRAConfig(r=2, bases=2, placement="input"),
    "clora_shared": lambda: ad.CLoRAConfig(r=2, bases=2, share_cores=True),
    "lora": lambda: ad.LoRAConfig(r=2, lora_alpha=3.0),
    "bitfit": ad.BitFitConfig,
    "linear": ad.LinearConfig,
    "full": ad.FullConfig,
}


def config_for(method, backbone):
    config = METHODS[method]()
    if backbone == "mlp":
        config.modules_to_save = ("head",)
    if hasattr(config, "target_modules") and backbone in ("mlp", "split_vit"):
        config.target_modules = ("fc1", "fc2") if backbone == "mlp" else ("blocks.*.attn.*",)
    return config


def moved(model, name=None):
    """Give every tensor of an adapter new values, and return their copies."""
    generator = torch.Generator().manual_seed(7)
    tensors = ad.adapter_tensors(model, name)
    for tensor in tensors.values():
        if tensor.is_floating_point():
            tensor.add_(torch.rand(tensor.shape, generator=generator) * 0.1)
    return {key: tensor.clone() for key, tensor in tensors.items()}


def trained(method="clora", backbone="fused_vit"):
    model, x = BACKBONES[backbone]()
    ad.attach(model, config_for(method, backbone))
    moved(model)
    return model.eval(), x


def saved(folder, method="clora", backbone="fused_vit"):
    model, x = trained(method, backbone)
    ad.save_adapter(model, folder)
    return model, x


def read(folder):
    with safe_open(folder / TENSORS, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()


def rewrite(folder, change):
    """Change tensors of a file and sign it anew: what is wrong now, no checksum tells."""
    tensors, header = read(folder)
    change(tensors)
    if "pcclora_sha256" in header:
        header["pcclora_sha256"] = _checksum(tensors, header)
    save_file(tensors, folder / TENSORS, metadata=header)


def reconfigure(folder, **values):
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def state_of(model):
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    return (
        state,
        [(n, type(m), m.training) for n, m in model.named_modules()],
        [p.requires_grad for p in model.parameters()],
    )


def assert_unchanged(model, before):
    now = state_of(model)
    assert now[1:] == before[1:]
    assert now[0].keys() == before[0].keys()
    assert all(torch.equal(now[0][key], value) for key, value in before[0].items())


def assert_refused(folder, match, backbone="fused_vit"):
    model, _ = BACKBONES[backbone]()
    before = state_of(model)
    with pytest.raises(PccloraError, match=match):
        ad.load_adapter(model, folder)
    assert_unchanged(model, before)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("method", METHODS)
def test_a_saved_adapter_comes_back_bit_for_bit(method, backbone, tmp_path):
    model, x = saved(tmp_path, method, backbone)
    fresh, _ = BACKBONES[backbone]()
    random = torch.get_rng_state()
    adapter = ad.load_adapter(fresh, tmp_path)
    assert torch.equal(torch.get_rng_state(), random)
    assert fresh.adapters["default"] is adapter and fresh.adapters.active == "default"
    theirs = ad.adapter_tensors(fresh)
    for key, tensor in ad.adapter_tensors(model).items():
        assert torch.equal(theirs[key], tensor), key
    assert torch.equal(fresh.eval()(x), model(x))
    assert sum(p.numel() for p in fresh.parameters() if p.requires_grad) == sum(
        p.numel() for p in model.parameters() if p.requires_grad
    )


def test_the_settings_are_in_the_words_of_peft_with_every_pattern_resolved(tmp_path):
    saved(tmp_path)
    values = json.loads((tmp_path / CONFIG).read_text())
    assert values["peft_type"] == "CLORA" and values["base_model_name_or_path"] is None
    assert values["r"] == 2 and values["diversity"] == 1e-3
    assert values["target_modules"][:4] == [*(f"blocks.0.attn.qkv[{c}]" for c in "qkv"), "blocks.0.attn.proj"]
    assert values["modules_to_save"] == ["head", "cls_token"]


def test_the_header_says_what_wrote_it(tmp_path):
    model, _ = saved(tmp_path)
    _, header = read(tmp_path)
    assert header["pcclora_format"] == "1" and header["torch_version"] == torch.__version__
    assert header["pcclora_base_sha256"] == ad.base_fingerprint(model)
    assert header["pcclora_version"] and len(header["pcclora_sha256"]) == 64


@pytest.mark.parametrize("method", ["clora", "clora_input", "clora_shared", "lora"])
def test_the_file_holds_each_trained_number_once_and_the_buffers(method, tmp_path):
    model, _ = saved(tmp_path, method)
    tensors, _ = read(tmp_path)
    buffers = model.adapters["default"].trained_buffers
    assert set(buffers) == {f"head.0.{n}" for n in ("running_mean", "running_var", "num_batches_tracked")}
    numbers = sum(tensor.numel() for key, tensor in tensors.items() if key not in buffers)
    assert numbers == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_an_adapter_is_loaded_into_one_of_the_same_settings(tmp_path):
    model, x = saved(tmp_path)
    expected = model(x)
    moved(model)
    adapter = model.adapters["default"]
    assert ad.load_adapter(model, tmp_path) is adapter
    assert torch.equal(model(x), expected)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ad.CLoRAConfig(r=4, bases=2), r"r is 2, adapter 'default' of the model has 4; detach it, or load under"),
        (ad.LoRAConfig(r=2), r"holds CLoRAConfig, adapter 'default' of the model has LoRAConfig; detach it"),
        (ad.CLoRAConfig(r=2, bases=2, target_modules=("blocks.*.attn.proj",)), r"target_modules is \[.*detach it"),
    ],
)
def test_an_adapter_of_other_settings_is_not_loaded_into(config, message, tmp_path):
    saved(tmp_path)
    model, _ = fused_vit()
    ad.attach(model, config)
    before = state_of(model)
    with pytest.raises(PccloraError, match=message):
        ad.load_adapter(model, tmp_path)
    assert_unchanged(model, before)


def test_one_of_several_adapters_is_saved_and_loaded_by_name(tmp_path):
    model, x = trained("clora")
    ad.attach(model, METHODS["lora"](), name="second")
    tensors = moved(model)
    model.eval()
    expected = model(x)
    ad.set_adapter(model, "default")
    ad.save_adapter(model, tmp_path, name="second")
    ad.load_adapter_tensors(model, {key: torch.zeros_like(t) for key, t in tensors.items()}, "second")
    ad.load_adapter(model, tmp_path, name="second")
    assert model.adapters.active == "second" and torch.equal(model(x), expected)
    fresh, _ = fused_vit()
    ad.attach(fresh, ad.LinearConfig())
    moved(fresh)
    ad.load_adapter(fresh, tmp_path, name="another")
    assert torch.equal(fresh.eval()(x), expected)


def test_a_refused_file_leaves_the_active_adapter_active(tmp_path):
    saved(tmp_path)
    rewrite(tmp_path, lambda tensors: tensors.pop("cls_token"))
    model, x = trained("lora")
    before, output = state_of(model), model(x)
    with pytest.raises(PccloraError, match="missing 'cls_token'"):
        ad.load_adapter(model, tmp_path, name="second")
    assert model.adapters.active == "default" and list(model.adapters) == ["default"]
    assert_unchanged(model, before)
    assert torch.equal(model(x), output)


def test_a_merged_adapter_is_saved_but_not_loaded_into(tmp_path):
    model, x = saved(tmp_path / "a")
    expected = model(x)
    ad.merge(model)
    ad.save_adapter(model, tmp_path / "b")
    with pytest.raises(PccloraError, match="unmerge"):
        ad.load_adapter(model, tmp_path / "a")
    with pytest.raises(PccloraError, match="unmerge"):
        ad.load_adapter(model, tmp_path / "a", name="second")
    fresh, _ = fused_vit()
    ad.load_adapter(fresh, tmp_path / "b")
    assert torch.equal(fresh(x), expected)


def forms(native, peft):
    """The same damage in a file of our names and in one of peft's."""
    return pytest.mark.parametrize(
        ("method", "backbone", "key"), [("clora", "fused_vit", native), ("lora", "mlp", peft)]
    )


both_forms = forms("groups.16x16.U", "base_model.model.fc1.lora_B.weight")


@both_forms
def test_a_missing_tensor_is_refused(method, backbone, key, tmp_path):
    saved(tmp_path, method, backbone)
    rewrite(tmp_path, lambda tensors: tensors.pop(key))
    assert_refused(tmp_path, f"{TENSORS}: missing '{key}'; use all of the file, with the", backbone)


@both_forms
def test_an_extra_tensor_is_refused(method, backbone, key, tmp_path):
    saved(tmp_path, method, backbone)
    rewrite(tmp_path, lambda tensors: tensors.update({f"{key}2": torch.zeros(3)}))
    assert_refused(tmp_path, f"{TENSORS}: unknown '{key}2'; use all of the file, with the", backbone)


@both_forms
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_refused(method, backbone, key, value, tmp_path):
    saved(tmp_path, method, backbone)
    rewrite(tmp_path, lambda tensors: tensors[key].view(-1)[:2].fill_(value))
    assert_refused(tmp_path, f"{TENSORS}: '{key}' holds 2 values that are NaN or infinite", backbone)


@both_forms
def test_a_flipped_bit_is_refused(method, backbone, key, tmp_path):
    saved(tmp_path, method, backbone)
    data = bytearray((tmp_path / TENSORS).read_bytes())
    data[-5] ^= 1
    (tmp_path / TENSORS).write_bytes(data)
    assert_refused(tmp_path, f"{TENSORS}: has sha256 .* was written with .*; copy it again", backbone)


@both_forms
def test_a_wrong_shape_is_refused(method, backbone, key, tmp_path):
    saved(tmp_path, method, backbone)
    rewrite(tmp_path, lambda tensors: tensors.update({key: tensors[key][..., :1].contiguous()}))
    assert_refused(tmp_path, f"{TENSORS}: '{key}' has shape .*, .* is expected: another rank or arch", backbone)


@both_forms
def test_a_wrong_rank_is_refused(method, backbone, key, tmp_path):
    saved(tmp_path, method, backbone)
    reconfigure(tmp_path, r=4)
    assert_refused(tmp_path, f"{CONFIG}: r is 4, but {TENSORS} was written with 2: .* save the adapter again", backbone)
    rewrite(tmp_path, lambda tensors: None)
    tensors, _ = read(tmp_path)
    if method == "lora":  # what no header tells, the shapes do
        save_file(tensors, tmp_path / TENSORS)
        assert_refused(tmp_path, r"lora_[AB]\.weight' has shape .*another rank", backbone)


@both_forms
def test_another_architecture_is_refused(method, backbone, key, tmp_path):
    saved(tmp_path, method, backbone)
    for other in BACKBONES.keys() - {backbone}:
        assert_refused(tmp_path, "matches nothing|match nothing|is no letter of|missing", other)


def test_a_deeper_model_is_refused(tmp_path):
    saved(tmp_path, "full", "mlp")
    model = mlp()[0].append(nn.Linear(5, 5))
    with pytest.raises(PccloraError, match=r"missing '5.bias', '5.weight'; use .* the architecture"):
        ad.load_adapter(model, tmp_path)
    assert not hasattr(model, "adapters")


@both_forms
def test_other_base_weights_are_refused(method, backbone, key, tmp_path):
    saved(tmp_path, method, backbone)
    model, _ = BACKBONES[backbone]()
    with torch.no_grad():
        next(m for m in model.modules() if isinstance(m, nn.Linear)).weight[0, 0] += 1e-6
    before = state_of(model)
    with pytest.raises(PccloraError, match=r"trained on other base weights \(fingerprint .*load the checkpoint"):
        ad.load_adapter(model, tmp_path)
    assert_unchanged(model, before)


def test_an_unknown_setting_is_refused(tmp_path):
    saved(tmp_path)
    reconfigure(tmp_path, diversty=0.5)
    assert_refused(tmp_path, rf"{CONFIG}: cannot be used:\s+diversty: unknown key; did you mean 'diversity'")


def test_an_unknown_setting_is_refused_in_the_form_of_peft(tmp_path):
    saved(tmp_path, "lora", "mlp")
    reconfigure(tmp_path, rank=4)
    assert_refused(tmp_path, f"{CONFIG}: rank = 4 is unknown here", "mlp")
    reconfigure(tmp_path, rank=None)
    assert_refused(tmp_path, f"{CONFIG}: rank is null, but {TENSORS} was written with absent", "mlp")


def test_an_unknown_method_is_refused(tmp_path):
    saved(tmp_path)
    reconfigure(tmp_path, peft_type="CLORRA")
    assert_refused(tmp_path, f"{CONFIG}: peft_type CLORRA: unknown adapter 'clorra'; did you mean 'clora'")


@pytest.mark.parametrize("file", [CONFIG, TENSORS])
@pytest.mark.parametrize("content", [None, b"", b"<!DOCTYPE html><html></html>", b"\x00" * 64, b"[1, 2]"])
def test_something_else_in_place_of_a_file_is_refused(file, content, tmp_path):
    saved(tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    assert_refused(tmp_path, file)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    assert_refused(tmp_path / "nowhere", "nowhere/adapter_config.json: no such file; a saved adapter is a folder with")


def test_safetensors_of_another_program_are_refused(tmp_path):
    saved(tmp_path)
    save_file(read(tmp_path)[0], tmp_path / TENSORS)
    assert_refused(tmp_path, "written neither by save_adapter nor by peft")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder in each form, and what it holds."""
    made = {}
    for method, backbone in (("clora", "fused_vit"), ("lora", "mlp")):
        folder = tmp_path_factory.mktemp(method)
        model, _ = saved(folder, method, backbone)
        made[backbone] = folder, dict(ad.adapter_tensors(model)), BACKBONES[backbone]()[0]
    return made


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    backbone=st.sampled_from(["fused_vit", "mlp"]),
    file=st.sampled_from([CONFIG, TENSORS, TENSORS]),
    place=st.one_of(st.integers(0, 1500), st.integers(-1500, -1)),
    flip=st.integers(0, 255),
    cut=st.booleans(),
)
def test_any_flipped_byte_or_cut_is_refused_or_changes_nothing(folders, tmp_path, backbone, file, place, flip, cut):
    folder, expected, model = folders[backbone]
    for name in (CONFIG, TENSORS):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    data = bytearray((folder / file).read_bytes())
    place %= len(data)
    data[place] ^= flip
    (tmp_path / file).write_bytes(data[: place if cut else None])
    try:
        ad.load_adapter(model, tmp_path)
    except PccloraError:
        assert not hasattr(model, "adapters")
        return
    loaded = ad.adapter_tensors(model)
    assert all(torch.equal(loaded[key], tensor) for key, tensor in expected.items())
    ad.detach(model)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("method", ["clora", "clora_shared"])
def test_an_interrupted_overwrite_loads_as_one_of_both_or_is_refused(method, step, when, tmp_path, monkeypatch):
    old, x = saved(tmp_path, "clora")
    new, _ = trained(method)
    moved(new)
    real, calls = os.replace, []

    def interrupted(source, target):
        calls.append(target)
        if len(calls) == step + 1 and when == "before":
            raise KeyboardInterrupt
        real(source, target)
        if len(calls) == step + 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ad.save_adapter(new, tmp_path)
    monkeypatch.undo()
    done = step + (when == "after")  # files replaced
    if done == 1 and method != "clora":
        assert_refused(tmp_path, "a save was interrupted; save the adapter again")
    else:
        model, _ = fused_vit()
        ad.load_adapter(model, tmp_path)
        assert torch.equal(model(x), (new if done else old)(x))
    ad.save_adapter(new, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [CONFIG, TENSORS]


def test_values_that_are_not_finite_are_not_saved(tmp_path):
    model, _ = saved(tmp_path)
    before = (tmp_path / TENSORS).read_bytes()
    ad.adapter_tensors(model)["groups.16x16.Q"][0, 0, 0, 0] = float("nan")
    with pytest.raises(PccloraError, match=r"'groups.16x16.Q' is not finite, so it is not saved"):
        ad.save_adapter(model, tmp_path)
    assert (tmp_path / TENSORS).read_bytes() == before


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "adapter").write_text("precious")
    with pytest.raises(PccloraError, match="adapter: cannot be written: .*; choose another folder"):
        ad.save_adapter(trained()[0], tmp_path / "adapter")
    assert (tmp_path / "adapter").read_text() == "precious"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("groups.16x16.D"), "missing 'groups.16x16.D'"),
        (lambda t: t.update(a=torch.zeros(1)), "unknown 'a'"),
        (lambda t: t.update(cls_token=torch.zeros(16)), r"'cls_token' has shape \(16,\), \(1, 1, 16\) is expected"),
        (lambda t: t.update(cls_token=torch.full((1, 1, 16), torch.nan)), "'cls_token' holds 16 values"),
        (lambda t: t.update(cls_token=torch.full((1, 1, 16), 1e300, dtype=torch.double)), "'cls_token' holds 16"),
        (lambda t: t.update(cls_token=torch.zeros(1, 1, 16, dtype=torch.int32)), "'cls_token' is torch.int32"),
    ],
)
def test_tensors_that_do_not_fit_change_nothing(change, message):
    model, _ = trained()
    before = state_of(model)
    tensors = {key: torch.zeros_like(tensor) for key, tensor in ad.adapter_tensors(model).items()}
    change(tensors)
    with pytest.raises(PccloraError, match=f"adapter 'default': {message}"):
        ad.load_adapter_tensors(model, tensors)
    assert_unchanged(model, before)


def test_the_tensors_are_what_the_file_holds(tmp_path):
    model, _ = saved(tmp_path)
    tensors, _ = read(tmp_path)
    mine = ad.adapter_tensors(model)
    assert mine.keys() == tensors.keys() and all(torch.equal(mine[key], tensors[key]) for key in mine)


@pytest.mark.parametrize("method", METHODS)
def test_the_fingerprint_is_that_of_the_base_whatever_the_adapter_does(method):
    base, _ = fused_vit()
    model, x = trained(method)
    own = ad.adapter_tensors(model).keys()
    expected = ad.base_fingerprint(base, exclude=own)
    assert ad.base_fingerprint(model) == expected
    model.train()(x).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter -= parameter.grad
    assert ad.base_fingerprint(model) == expected
    with ad.disabled(model):
        assert ad.base_fingerprint(model, exclude=own) == expected
        assert ad.base_fingerprint(model) == ad.base_fingerprint(base)
    if "lora" in method:
        ad.merge(model.eval())
        assert ad.base_fingerprint(model) == expected
        assert ad.base_fingerprint(model.double()) == expected
        ad.unmerge(model)
    ad.detach(model)
    assert ad.base_fingerprint(model) == ad.base_fingerprint(base)


def test_the_fingerprint_depends_on_every_frozen_tensor():
    model, _ = mlp()
    ad.attach(model, config_for("clora", "mlp"))
    expected = ad.base_fingerprint(model)
    frozen = set(model.state_dict()) - {"head.weight", "head.bias"}
    for key in [key for key in frozen if not key.startswith("adapters.")]:
        tensor = model.state_dict()[key].view(-1)
        kept = tensor[0].clone()
        tensor[0] += 1
        assert ad.base_fingerprint(model) != expected, key
        tensor[0] = kept
    assert ad.base_fingerprint(model) == expected


def test_an_adapter_trained_in_double_precision_loads_in_single(tmp_path):
    model, x = trained()
    ad.save_adapter(model.double(), tmp_path)
    fresh, _ = fused_vit()
    ad.load_adapter(fresh, tmp_path)
    assert torch.equal(fresh(x), model.float()(x))


def test_the_parameters_are_reported_in_the_words_of_peft():
    peft = pytest.importorskip("peft")
    config = {"r": 2, "target_modules": ["fc1", "fc2"], "modules_to_save": ["head"]}
    model, _ = mlp()
    ad.attach(model, ad.LoRAConfig(**config))
    stream = io.StringIO()
    ad.print_trainable_parameters(model, stream=stream)
    theirs = peft.get_peft_model(mlp()[0], peft.LoraConfig(**config))
    trainable, _ = theirs.get_nb_trainable_parameters()
    total = sum(p.numel() for p in model.parameters())  # theirs counts the head twice
    assert stream.getvalue() == (
        f"trainable params: {trainable:,d} || all params: {total:,d} || trainable%: {100 * trainable / total:.4f}\n"
    )


def test_the_parameters_are_reported_to_the_screen(capsys):
    ad.print_trainable_parameters(nn.Linear(3, 4))
    assert capsys.readouterr().out == "trainable params: 16 || all params: 16 || trainable%: 100.0000\n"

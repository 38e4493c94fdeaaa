"""What must not load does not load, says which and why, and leaves the model as it was."""

import hashlib
import re

import pytest
import torch

from pcclora.errors import PccloraError
from pcclora.models import create_model, load_checkpoint
from pcclora.models import load as checkpoints
from pcclora.models.load import BUNDLED, WEIGHTS, bundled_weights
from pcclora.registry import MODELS


@pytest.fixture
def refused(tmp_path):
    """``refused(model, state, message)``: loading raises, and changes nothing."""

    def check(model, state, message):
        before = {key: value.clone() for key, value in model.state_dict().items()}
        torch.save({"base_model": state}, tmp_path / "file.pth")
        with pytest.raises(PccloraError, match=message) as error:
            load_checkpoint(model, tmp_path / "file.pth")
        assert "file.pth" in str(error.value)
        assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())

    return check


def randomised(model):
    """Its state dict with other numbers."""
    return {key: torch.rand(value.shape).to(value.dtype) for key, value in model.state_dict().items()}


@pytest.mark.parametrize(
    ("file", "model", "message"),
    [
        ("point_bert", "point_mae", "a Point-BERT checkpoint; model 'point_mae' reads Point-MAE: use create_model"),
        ("point_bert", "recon", r"use create_model\('point_bert'\)"),
        ("recon", "point_mae", r"a ReCon checkpoint.*use create_model\('recon'\)"),
        ("recon", "act", "a ReCon checkpoint"),
        ("point_bert partseg", "point_mae", "a Point-BERT checkpoint"),
        ("recon partseg", "point_mae partseg", "a ReCon checkpoint"),
        ("act partseg", "point_mae partseg", "a ACT checkpoint"),
        ("point_mae", "recon", r"\d+ of the \d+ tensors of the trunk are in this file"),
        (
            "point_mae",
            "point_bert",
            r"'encoder.second_conv.3.weight' is \(24, 10, 1\), model 'point_bert' has \(12, 10, 1\)",
        ),
    ],
)
def test_wrong_family(file, model, message, small, refused):
    model, file = (small(name, task=task or "cls") for name, _, task in (model.partition(" "), file.partition(" ")))
    refused(model, as_act(file.state_dict()) if MODELS.name_of(file.config) == "act" else file.state_dict(), message)


def as_act(state):
    """ACT's names of the part-segmentation head."""
    return {re.sub(r"^(label_conv|propagation_0|convs\d|bns\d)\.", r"\1_cls.", k): v for k, v in state.items()}


def test_wrong_family_of_a_pretraining_file(small, refused):
    trunk = {f"ACT_encoder.{k}": v for k, v in small("act").state_dict().items() if "head" not in k}
    refused(small("point_mae"), trunk, r"an? ACT checkpoint.*use create_model\('act'\)")


@pytest.mark.parametrize(
    ("key", "family"),
    [
        ("h_encoder.token_embed.0.first_conv.0.weight", "Point-M2AE"),
        ("blocks.0.cls.conv1.weight", "Point-FEMAE"),
        ("blocks.cls.conv1.0.weight", "IDPT"),
        ("blocks.0.tfts_gamma_1", "DAPT"),
        ("blocks.0.adapt.down.weight", "PointGST"),
        ("shape_feature_mlp.0.weight", "GAPrompt"),
        ("blocks.prompt_all_mlp.0.weight", "PPT"),
    ],
)
def test_networks_without_a_counterpart(key, family, small, refused):
    refused(small(), small().state_dict() | {key: torch.zeros(2)}, f"a {family} checkpoint")


@pytest.mark.parametrize("name", ["point_mae_tiny", "vit_mini"])
def test_state_of_an_adapted_model(name, refused):
    model = create_model(name, num_classes=3)
    state = model.state_dict() | {"adapters.default.groups.96x96.D": torch.zeros(2)}
    refused(model, state, "with its adapter.*load_adapter")


def test_dvae_file(small, refused):
    tokenizer = {key: value for key, value in small("point_bert").state_dict().items() if key.startswith("encoder.")}
    refused(small("point_bert"), tokenizer | {"codebook": torch.zeros(4, 2)}, "a dVAE checkpoint")


@pytest.mark.parametrize("name", ["point_mae", "point_bert", "act", "recon", "recon_plain"])
def test_each_missing_trunk_tensor_is_noticed(name, small, refused):
    state = small(name).state_dict()
    for key in ("encoder.first_conv.1.running_var", "blocks.1.attn.qkv.weight", "norm.bias", "pos_embed.2.bias"):
        refused(small(name), {k: v for k, v in state.items() if k != key}, "1 are not.*not a whole")
    if name != "point_mae":  # only Point-MAE is pre-trained without a class token
        refused(small(name), {k: v for k, v in state.items() if k != "cls_token"}, "1 are not")


@pytest.mark.parametrize(
    ("task", "key", "part"),
    [
        ("cls", "cls_head_finetune.4.bias", "head"),
        ("partseg", "label_conv.1.running_mean", "head"),
        ("partseg", "convs2.weight", "head"),
        ("pretrain", "mask_token", "pre-training decoder"),
    ],
)
def test_a_part_that_is_there_must_be_whole(task, key, part, small, refused):
    state = small(task=task).state_dict()
    refused(small(task=task), {k: v for k, v in state.items() if k != key}, f"of the {part} are in this file, 1 are")


def test_a_shallower_file_is_noticed(small, refused):
    refused(small(depth=3), small().state_dict(), r"are not \(blocks.\*.norm1")


def test_shape_dtype_and_nan(small, refused):
    state = small().state_dict()
    key = "blocks.0.mlp.fc1.weight"
    refused(small(), state | {key: state[key].T}, re.escape("'blocks.0.mlp.fc1.weight' is (24, 96)"))
    refused(small(), state | {key: state[key].long()}, "torch.int64")
    refused(small(), state | {key: state[key] / 0}, "NaN or infinite")
    refused(small(), state | {key: (state[key] * torch.nan).to(torch.float8_e4m3fn)}, "NaN or infinite")


def test_two_keys_for_one_tensor(small, refused):
    refused(small(), small().state_dict() | {"module.norm.bias": torch.zeros(24)}, "mixes two models")


WRAPPED = {
    "lightning": lambda state: {"state_dict": {f"model.{k}": v for k, v in state.items()}},
    "dino": lambda state: {
        "student": {f"module.backbone.{k}": 0 * v for k, v in state.items()},
        "teacher": {f"backbone.{k}": v for k, v in state.items()} | {"head.last.weight": torch.zeros(2)},
    },
    "dinov2": lambda state: {
        "model": {f"{who}.{k}": v * f for who, f in (("student", 0), ("teacher", 1)) for k, v in state.items()}
    },
    "compiled": lambda state: {"model": {f"model._orig_mod.backbone.{k}": v for k, v in state.items()}},
}


@pytest.mark.parametrize("form", WRAPPED)
def test_a_network_inside_a_training_is_found(form, small, tmp_path):
    state, model = randomised(small()), small()
    torch.save(WRAPPED[form](state), tmp_path / "file.pth")
    report = load_checkpoint(model, tmp_path / "file.pth")
    assert all(torch.equal(model.state_dict()[key], state[key]) for key in state) and not report.missing
    told = {"dino": "taken from 'backbone.'; left out beside it: head", "dinov2": "taken from 'teacher.'"}
    assert told.get(form, "") in str(report) and bool(report.notes) == (form in told)


def test_an_unknown_prefix_is_named(small, refused):
    state = {f"net.point.{key}": value for key, value in small().state_dict().items()}
    refused(small(), state, r"0 of the \d+ tensors.*its names begin with 'net.point.': save them without")


def test_point_lora_of_another_shape_is_refused(small, refused):
    place = "blocks.0.attn.qkv."
    state = small().state_dict()
    state |= {place + "linear.weight": state[place + "weight"], place + "lora_A": torch.zeros(2, 24)}
    refused(small(), state | {place + "lora_B": torch.zeros(9, 2)}, "lora_A and lora_B do not fit .*linear.weight")


def test_a_file_of_nobody_is_absent():
    with pytest.raises(PccloraError, match="~nobody-there/x.pth: no such file"):
        create_model("point_mae_tiny", checkpoint="~nobody-there/x.pth")


@pytest.mark.parametrize(
    ("name", "task", "published"),
    [
        ("point_mae", "cls", r"64 groups of 32 points in use; published classification: 64 .*512 \(8,192\), of 32"),
        (
            "point_bert",
            "cls",
            r"64 groups of 32 .*published classification: 64 groups \(1,024 points, ScanObjectNN too",
        ),
        ("act", "partseg", r"128 groups of 32 .*published part segmentation: 128 groups \(2,048 points\)"),
        ("point_mae", "pretrain", r"64 groups of 32 .*published pre-training: 64 groups \(1,024 points\)"),
    ],
)
def test_the_groups_in_use_are_said_beside_the_published_ones(name, task, published, tmp_path):
    model = create_model(name, task=task)
    torch.save(model.state_dict(), tmp_path / "file.pth")
    assert re.search(published, str(load_checkpoint(model, tmp_path / "file.pth")))
    assert "in use" not in str(load_checkpoint(create_model("point_mae_tiny"), WEIGHTS / "point_mae_tiny.safetensors"))


def test_bundled_weights_are_what_was_released(tmp_path, monkeypatch):
    """Whoever releases other weights writes their sha256 into BUNDLED; this test says which."""
    found = {file.stem: hashlib.sha256(file.read_bytes()).hexdigest() for file in WEIGHTS.glob("*.safetensors")}
    assert found == BUNDLED
    monkeypatch.setattr(checkpoints, "WEIGHTS", tmp_path)
    with pytest.raises(PccloraError, match="point_mae_tiny.safetensors: absent; install pcclora again"):
        bundled_weights("point_mae_tiny")
    content = bytearray((WEIGHTS / "point_mae_tiny.safetensors").read_bytes())
    for place in (20, len(content) // 2, len(content) - 1):
        content[place] ^= 1
        (tmp_path / "point_mae_tiny.safetensors").write_bytes(content)
        with pytest.raises(PccloraError, match="damaged: its sha256 is not that of the release"):
            create_model("point_mae_tiny", pretrained=True)
        content[place] ^= 1
    (tmp_path / "point_mae_tiny.safetensors").write_bytes(content)
    create_model("point_mae_tiny", pretrained=True)


def test_a_head_of_another_class_count_is_dropped_with_a_line(small, tmp_path):
    model, state = small(num_classes=5), randomised(small(num_classes=7))
    torch.save(state, tmp_path / "file.pth")
    head = {key: value.clone() for key, value in model.cls_head_finetune.state_dict().items()}
    report = load_checkpoint(model, tmp_path / "file.pth")
    assert "classification head dropped: 3 layers from 48 features to 7 classes, this model has" in str(report)
    assert all(key.startswith("cls_head_finetune") for key in report.dropped) and not report.head_loaded
    assert all(torch.equal(head[key], value) for key, value in model.cls_head_finetune.state_dict().items())
    assert all(torch.equal(model.state_dict()[key], state[key]) for key in report.loaded)
    assert set(report.loaded) | set(report.missing) == set(model.state_dict())


@pytest.mark.parametrize("name", ["point_mae", "point_bert", "recon"])
@pytest.mark.parametrize("options", [{"num_parts": 9}, {"num_categories": 4}])
def test_a_part_head_with_other_outputs_is_dropped_with_a_line(name, options, small, tmp_path):
    state = randomised(small(name, task="partseg"))
    torch.save({"model_state_dict": state}, tmp_path / "file.pth")
    model = small(name, task="partseg", **options)
    report = load_checkpoint(model, tmp_path / "file.pth")
    here = f"{model.num_parts} parts of {model.num_categories} categories"
    assert f"part segmentation head dropped: 7 parts of 3 categories, this model has {here}" in str(report)
    assert not report.head_loaded and {key.split(".")[0] for key in report.dropped} == set(model.head_names)
    assert all(torch.equal(model.state_dict()[key], state[key]) for key in report.loaded)
    assert set(report.loaded) | set(report.missing) == set(model.state_dict())


OTHER_TASK = [(name, "cls", "partseg") for name in ("point_mae", "point_bert", "act", "recon", "recon_plain")]
OTHER_TASK += [(name, "partseg", "cls") for name in ("point_mae", "point_bert", "recon")]


@pytest.mark.parametrize(("name", "file", "task"), OTHER_TASK)
def test_a_file_of_another_task_gives_its_trunk(name, file, task, small, tmp_path):
    state, model = randomised(small(name, task=file)), small(name, task=task)
    torch.save(state, tmp_path / "file.pth")
    report = load_checkpoint(model, tmp_path / "file.pth")
    here = [key for key in report.missing if key not in ("cls_token", "cls_pos")]
    assert {key.split(".")[0] for key in here} == set(model.head_names) and not report.unexpected
    assert all(torch.equal(model.state_dict()[key], state[key]) for key in report.loaded)
    assert "head dropped" in str(report) and not report.head_loaded


@pytest.mark.parametrize("name", ["act", "recon_plain"])
def test_a_part_segmenter_without_a_class_token_does_not_fill_a_classifier_that_needs_one(name, small, refused):
    refused(small(name), small(name, task="partseg").state_dict(), r"2 are not \(cls_token, cls_pos\)")


def test_act_names_its_part_head_otherwise(small, tmp_path):
    state, model = randomised(small("act", task="partseg")), small("act", task="partseg")
    torch.save({"model_state_dict": as_act(state)}, tmp_path / "file.pth")
    report = load_checkpoint(model, tmp_path / "file.pth")
    assert report.family == "ACT" and set(report.loaded) == set(state) and report.head_loaded
    assert all(torch.equal(model.state_dict()[key], state[key]) for key in state)


def test_unknown_keys_are_reported(small, tmp_path):
    torch.save(small().state_dict() | {"side_alpha": torch.zeros(1)}, tmp_path / "file.pth")
    report = load_checkpoint(small(), tmp_path / "file.pth")
    assert report.unexpected == ("side_alpha",) and "unknown: side_alpha" in str(report)


def test_half_precision_fills_single(small, tmp_path):
    state = {key: value.half() if value.is_floating_point() else value for key, value in randomised(small()).items()}
    torch.save(state, tmp_path / "file.pth")
    model = small()
    load_checkpoint(model, tmp_path / "file.pth")
    assert model.norm.weight.dtype == torch.float32 and torch.equal(model.norm.weight, state["norm.weight"].float())


def test_a_classifier_file_fills_the_encoder_of_a_masked_autoencoder(small, tmp_path):
    state = randomised(small())
    torch.save(state, tmp_path / "file.pth")
    model = small(task="pretrain")
    report = load_checkpoint(model, tmp_path / "file.pth")
    assert torch.equal(model.MAE_encoder.norm.weight, state["norm.weight"])
    assert all(not key.startswith("MAE_encoder.") for key in report.missing)


def test_point_lora_file_merges(small, tmp_path):
    """It has a `qkv.weight` of shape (1,), the gate of a prompt, beside the real `qkv.linear.weight`."""
    model, expected = small(), randomised(small())
    state = dict(expected)
    for i in range(2):
        for name in ("qkv", "proj"):
            place = f"blocks.{i}.attn.{name}."
            weight = state.pop(place + "weight")
            A, B = torch.randn(2, weight.shape[1]), torch.randn(len(weight), 2)
            state |= {place + "linear.weight": weight, place + "lora_A": A, place + "lora_B": B}
            state[place + "weight"] = torch.tensor([1.0])
            expected[place + "weight"] = weight + B @ A
            if name == "proj":
                state[place + "linear.bias"] = state.pop(place + "bias")
    prompts = {"blocks.prompt_mlp.0.weight": torch.zeros(2), "lora_mask_predictor.fc1.weight": torch.zeros(2)}
    torch.save({"base_model": {"module." + k: v for k, v in (state | prompts).items()}}, tmp_path / "file.pth")
    report = load_checkpoint(model, tmp_path / "file.pth")
    assert "4 PointLoRA maps merged" in str(report) and not report.missing
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=0, atol=0)


def test_models_from_elsewhere_are_refused(tmp_path):
    with pytest.raises(PccloraError, match="Linear is not a pcclora backbone"):
        load_checkpoint(torch.nn.Linear(2, 2), tmp_path / "file.pth")

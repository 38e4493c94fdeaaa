"""Released files, in every released form, give what the original implementations compute from the same weights."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pcclora.models import LoadReport, create_model, load_checkpoint
from pcclora.models.backbone import Backbone

TOLERANCE = 1e-4  # relative to the largest number, float32


def prefixed(state: dict, prefix: str) -> dict:
    return {prefix + key: value for key, value in state.items()}


def ours(state: dict) -> dict:
    """Under our names: the blocks are `blocks.0`, where released files say `blocks.blocks.0`."""
    return {key.replace("blocks.blocks.", "blocks."): value for key, value in state.items()}


def without_head(state: dict) -> dict:
    return {key: value for key, value in state.items() if not key.startswith("cls_head_finetune")}


def several_encoders(state: dict) -> dict:
    """The form with an image and a text encoder beside the point encoder, whose blocks are called `encoder`."""
    renamed = {k.replace("encoder.", "patch_embed.", 1) if k.startswith("encoder.") else k: v for k, v in state.items()}
    renamed = {k.replace("blocks.", "encoder.", 1) if k.startswith("blocks.") else k: v for k, v in renamed.items()}
    return prefixed(renamed, "module.point_encoder.") | {"module.logit_scale": torch.ones(())}


METRICS = {"epoch": 299, "metrics": {"acc": np.float64(93.8)}, "best_metrics": {"acc": torch.tensor(93.8)}}
FORMS: dict[str, Callable[[dict], object]] = {
    "bare": lambda state: state,
    "base_model, DataParallel": lambda state: {"base_model": prefixed(state, "module."), **METRICS},
    "base_model, distributed": lambda state: {"base_model": state, **METRICS},
    "model": lambda state: {"model": state},
    "model_state_dict, numpy scalars": lambda state: {"model_state_dict": state, "test_acc": np.float64(0.9)},
    "state_dict, several encoders": lambda state: {"state_dict": several_encoders(state)},
    "base_model within base_model": lambda state: {"base_model": prefixed(state, "module.base_model.")},
}


def load(model: Backbone, content: object, folder: Path, **options: object) -> LoadReport:
    file = folder / "file.pth"
    torch.save(content, file, **options)
    try:
        return load_checkpoint(model, file)
    finally:
        file.unlink()


def agree(computed: torch.Tensor, expected: torch.Tensor) -> None:
    assert (computed - expected).abs().max() <= TOLERANCE * expected.abs().max()


@torch.no_grad()
def logits_agree(model: Backbone, arrays: dict) -> None:
    agree(model.eval()(arrays["points"]), arrays["logits"])


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("point_mae", "point_mae_cls"),
        ("act", "point_mae_cls"),
        ("point_bert", "point_bert_cls"),
        ("recon", "recon_cls"),
    ],
)
def test_classifier(name, file, golden, tmp_path):
    state, arrays = golden(file)
    model = create_model(name)
    assert {key: value.shape for key, value in model.state_dict().items()} == {
        k: v.shape for k, v in ours(state).items()
    }
    report = load(model, {"base_model": prefixed(state, "module.")}, tmp_path)
    assert len(report.loaded) == len(state) and report.head_loaded
    assert not (report.missing or report.unexpected or report.dropped or report.notes)
    logits_agree(model, arrays)


@pytest.mark.parametrize(("name", "file"), [("point_mae", "point_mae_partseg"), ("point_bert", "point_bert_partseg")])
def test_part_segmenter(name, file, golden, tmp_path):
    state, arrays = golden(file)
    model = create_model(name, task="partseg", num_groups=128)
    assert {key: value.shape for key, value in model.state_dict().items()} == {
        k: v.shape for k, v in ours(state).items()
    }
    report = load(model, {"model_state_dict": state, "inctance_avg_iou": np.float64(0.861), "epoch": 299}, tmp_path)
    assert len(report.loaded) == len(state) and report.head_loaded
    assert not (report.missing or report.unexpected or report.dropped or report.notes)
    with torch.no_grad():
        log_probs = model.eval()(arrays["points"], arrays["category"]).log_softmax(dim=2)
    step = log_probs.shape[1] // arrays["log_probs"].shape[1]  # the golden file has every 16th point
    assert (log_probs[:, ::step] - arrays["log_probs"]).abs().max() <= TOLERANCE


@pytest.mark.parametrize("form", FORMS)
def test_every_container(form, golden, tmp_path):
    state, arrays = golden("point_mae_cls")
    model = create_model("point_mae")
    report = load(model, FORMS[form](state), tmp_path)
    assert set(report.loaded) == set(ours(state)) and not report.missing
    logits_agree(model, arrays)


@pytest.mark.parametrize("names", [ours, dict])
def test_released_and_own_names_load_strictly(names, golden):
    state, arrays = golden("point_mae_cls")
    model = create_model("point_mae")
    model.load_state_dict(names(state))
    logits_agree(model, arrays)


def test_files_of_torch_before_1_6(golden, tmp_path):
    state, arrays = golden("point_mae_cls")
    model = create_model("point_mae")
    load(model, {"base_model": state}, tmp_path, _use_new_zipfile_serialization=False)
    logits_agree(model, arrays)


def test_safetensors(golden, tmp_path):
    state, arrays = golden("point_mae_cls")
    save_file(state, tmp_path / "weights.pth")  # told by its bytes, not by its name
    model = create_model("point_mae", checkpoint=tmp_path / "weights.pth")
    logits_agree(model, arrays)


@pytest.mark.parametrize(
    ("name", "file", "prefix"),
    [
        ("act", "point_mae_cls", "ACT_encoder."),
        ("recon", "recon_cls", "MAE_encoder."),
        ("point_bert", "point_bert_cls", "transformer_q."),
        ("point_bert", "point_bert_cls", "transformer_k."),
    ],
)
def test_trunk_of_a_pretraining_file(name, file, prefix, golden, tmp_path):
    state, arrays = golden(file)
    head = {k: v for k, v in state.items() if k not in without_head(state)}
    extra = {"mask_token": torch.zeros(1, 1, 384), "lm_head.weight": torch.zeros(3, 384)}
    content = prefixed(without_head(state) | extra, prefix) | {"queue": torch.zeros(2), "dvae.codebook": torch.zeros(2)}
    if prefix == "transformer_q.":
        content |= prefixed({k: v + 1.0 for k, v in without_head(state).items()}, "transformer_k.")
    model = create_model(name)
    report = load(model, {"base_model": prefixed(content, "module.")}, tmp_path)
    assert set(report.missing) == set(head) and not report.unexpected and not report.head_loaded
    model.load_state_dict(head, strict=False)
    logits_agree(model, arrays)


def test_point_mae_tokens(golden, tmp_path):
    state, arrays = golden("point_mae_cls")
    model = create_model("point_mae")
    load(model, state, tmp_path)
    with torch.no_grad():
        neighborhoods, centers = model.eval().group(arrays["points"])
        assert torch.equal(centers, arrays["centers"])
        agree(model.embed(neighborhoods), arrays["tokens"])


def test_point_mae_pretraining_loss(golden, tmp_path):
    state, arrays = golden("point_mae_pretrain")
    model = create_model("point_mae", task="pretrain")
    assert {key: value.shape for key, value in model.state_dict().items()} == {
        k: v.shape for k, v in ours(state).items()
    }
    report = load(model, {"base_model": prefixed(state, "module."), **METRICS}, tmp_path)
    assert set(report.loaded) == set(ours(state)) and report.family == "Point-MAE"
    with torch.no_grad():
        agree(model.eval()(arrays["points"], mask=arrays["mask"]), arrays["loss"])


def test_point_mae_pretraining_file_into_a_classifier(golden, tmp_path):
    state, _ = golden("point_mae_pretrain")
    model = create_model("point_mae", num_classes=15)
    report = load(model, {"base_model": state}, tmp_path)
    assert len(report.loaded) == 156 and len(report.dropped) == 53 and not report.unexpected
    assert {key.split(".")[0] for key in report.missing} == {"cls_token", "cls_pos", "cls_head_finetune"}
    for key in report.loaded:
        assert torch.equal(model.state_dict()[key], ours(state)[f"MAE_encoder.{key}"])


def test_recon_file_into_the_plain_model(golden, tmp_path):
    state, _ = golden("recon_cls")
    model = create_model("recon_plain")
    report = load(model, {"base_model": state}, tmp_path)
    assert len(report.loaded) == 158 and all(
        torch.equal(model.state_dict()[key], ours(state)[key]) for key in report.loaded
    )
    assert "head dropped: 3 layers from 1536 features to 40 classes" in str(report)
    assert {key.split(".")[0] for key in report.missing} == {"cls_head_finetune"}

"""Checkpoints of the methods' original code, unmodified, give the original's logits."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import pcclora
from pcclora import PccloraError
from tests.adapters.test_method_goldens import relative

Golden = Callable[[str], tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]
FILES = {
    "dapt": "dapt_cls",
    "gaprompt": "gaprompt_cls",
    "vpt_deep": "vpt_deep_cls",
    "idpt": "idpt_cls",
    "pointgst": "pointgst_spec_cls",
    "pointlora": "pointlora_cls",
    "ppt": "ppt_cls",
}
LOGITS = {"gaprompt": "logits_own_patches"}
"""The array of a golden, where the method's default is another reading than the released one."""


def adapted(method: str) -> nn.Module:
    model = pcclora.create_model("point_mae", num_classes=15, num_groups=128)
    pcclora.attach(model, pcclora.adapter_config(method))
    return model


def written(state: Mapping[str, Tensor], path: Path, *, prefix: str = "") -> Path:
    torch.save({"base_model": {prefix + key: value.clone() for key, value in state.items()}, "epoch": 3}, path)
    return path


@pytest.mark.parametrize("method", FILES)
def test_the_file_gives_the_originals_logits(method: str, golden: Golden, tmp_path: Path) -> None:
    state, arrays = golden(FILES[method])
    model = adapted(method)
    report = pcclora.load_checkpoint(model, written(state, tmp_path / "ckpt-best.pth", prefix="module."))
    assert report.head_loaded and not report.unexpected and not report.missing and not report.dropped
    logits = arrays[LOGITS.get(method, "logits")]
    with torch.no_grad():
        assert relative(model.eval()(arrays["points"]), logits) < 2e-5
        alone = torch.cat([model(cloud[None]) for cloud in arrays["points"]])
    assert relative(alone, logits) < 2e-5


def test_what_was_read_is_said(golden: Golden, tmp_path: Path) -> None:
    state, _ = golden("vpt_deep_cls")
    report = pcclora.load_checkpoint(adapted("vpt_deep"), written(state, tmp_path / "vpt.pth"))
    assert "2 tensors of vpt_deep loaded into the adapter" in str(report)


def test_a_file_of_another_method_is_refused(golden: Golden, tmp_path: Path) -> None:
    state, _ = golden("idpt_cls")
    file = written(state, tmp_path / "idpt.pth")
    with pytest.raises(PccloraError, match=r"a checkpoint of 'idpt'.*adapter is 'pointgst'.*adapter_config\('idpt'\)"):
        pcclora.load_checkpoint(adapted("pointgst"), file)
    plain = pcclora.create_model("point_mae", num_classes=15)
    with pytest.raises(PccloraError, match=r"attach pcclora\.adapter_config\('idpt'\)"):
        pcclora.load_checkpoint(plain, file)


def test_nothing_changes_when_a_row_is_missing(golden: Golden, tmp_path: Path) -> None:
    state, _ = golden("vpt_deep_cls")
    file = written({key: value for key, value in state.items() if key != "cls_prompt_list.7"}, tmp_path / "vpt.pth")
    model = adapted("vpt_deep")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(PccloraError, match="11 of 12 rows"):
        pcclora.load_checkpoint(model, file)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_plain_checkpoint_leaves_the_adapter(tmp_path: Path) -> None:
    base = pcclora.create_model("point_mae", num_classes=15)
    torch.save(base.state_dict(), tmp_path / "base.pth")
    model = adapted("vpt_deep")
    prompts = model.get_parameter("adapters.default.prompts").detach().clone()
    pcclora.load_checkpoint(model, tmp_path / "base.pth")
    assert torch.equal(model.get_parameter("adapters.default.prompts"), prompts)
    assert torch.equal(model.get_parameter("blocks.3.attn.qkv.weight"), base.get_parameter("blocks.3.attn.qkv.weight"))


def test_a_plain_model_takes_pointloras_maps_merged(golden: Golden, tmp_path: Path) -> None:
    state, _ = golden("pointlora_cls")
    plain = pcclora.create_model("point_mae", num_classes=15, num_groups=128)
    report = pcclora.load_checkpoint(plain, written(state, tmp_path / "pointlora.pth"))
    assert "24 PointLoRA maps merged" in str(report)
    assert "maps merged" not in str(
        pcclora.load_checkpoint(adapted("pointlora"), written(state, tmp_path / "pointlora.pth"))
    )


def test_a_gate_that_is_not_one_is_refused(golden: Golden, tmp_path: Path) -> None:
    state, _ = golden("pointlora_cls")
    key = "blocks.blocks.3.attn.qkv.weight"
    file = written({**state, key: torch.tensor([0.5])}, tmp_path / "pointlora.pth")
    with pytest.raises(PccloraError, match=rf"'{key}' is 0.5, where released files have 1"):
        pcclora.load_checkpoint(adapted("pointlora"), file)

"""Further sets of groups: made once where the model has made them, as the model makes its own, in every task."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pcclora
from pcclora import PccloraError
from pcclora.adapters import PointLoRAConfig, PPTConfig
from pcclora.adapters.methods import groups
from pcclora.adapters.methods.groups import make_more, token_places, trained_with_tokens
from pcclora.adapters.places import Seen
from pcclora.models import create_model
from pcclora.ops import gather, knn_points, sample_farthest_points
from pcclora.studies.fewshot.features import constant_stage
from tests.adapters.cases import POINTLORA_SETS, attached, output

SIZES = {"dim": 24, "depth": 3, "heads": 3, "num_groups": 8, "group_size": 6, "encoder_widths": (6, 8, 10)}
SETTINGS = {
    "ppt": PPTConfig(m=3),
    "ppt_nested": PPTConfig(m=3, num_groups=5),
    "ppt_two_sets": PPTConfig(m=3, num_groups=11, group_size=9),
    "pointlora": PointLoRAConfig(r=2, m=3, **POINTLORA_SETS),
}


def clouds(count: int = 3) -> Tensor:
    return torch.randn(count, 32, 3, generator=torch.Generator().manual_seed(5))


def small(name: str = "point_mae_tiny", **changes: Any) -> nn.Module:
    torch.manual_seed(3)
    sizes = {**SIZES, **({"encoder_dim": 16} if name == "point_bert" else {}), **changes}
    if "task" not in sizes:
        sizes["num_classes"] = 5
    return create_model(name, **sizes).eval()


def anew(grouping: nn.Module, points: Tensor, own: tuple[Tensor, Tensor], wanted: groups.GroupSet) -> Any:
    """Further groups without anything that was made before."""
    centers, _ = sample_farthest_points(points, K=wanted[0] or own[0].shape[1])
    near = knn_points(centers, points, K=wanted[1] or own[0].shape[2]).idx
    return gather(points, near) - centers.unsqueeze(2), centers


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", ["point_mae_tiny", "point_bert"])
def test_what_is_taken_equals_what_is_made_anew(name, settings, monkeypatch):
    model = small(name)
    pcclora.attach(model, SETTINGS[settings])
    taken = output(model.eval(), clouds())
    monkeypatch.setattr(groups, "_regroup", anew)
    torch.testing.assert_close(output(model, clouds()), taken, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("settings", "taken", "made"), [(PPTConfig(), 8.7, 10.7), (PointLoRAConfig(), 7.9, 9.9)])
def test_equal_sets_pass_the_tokeniser_once(settings, taken, made, monkeypatch):
    model = create_model("point_mae", num_classes=15, num_groups=128).to("meta")
    points = torch.empty(1, 2048, 3, device="meta")
    pcclora.attach(model, settings)
    assert round(pcclora.count_macs(model, points).literature / 1e9, 1) == taken
    monkeypatch.setattr(groups, "_regroup", anew)
    assert round(pcclora.count_macs(model, points).literature / 1e9, 1) == made  # as published


@pytest.mark.parametrize("skip", [False, True])
def test_further_groups_are_sampled_as_the_models_own(skip):
    model, points = small(skip_near_origin=skip), clouds()
    points[:, 20:] *= 1e-3  # a third lies at the origin
    grouping = token_places(model)[0]
    seen, module = Seen(), model.get_submodule(grouping.module)
    make_more(seen, [(24, 7)], grouping, module, (points,), module(points))
    twin = type(module)(24, 7, skip_near_origin=skip)
    for found, expected in zip((seen["neighborhoods"][0], seen["centers"][0]), twin(points), strict=True):
        assert torch.equal(found, expected)
    both = {flag: type(module)(24, 7, skip_near_origin=flag)(points)[1] for flag in (False, True)}
    assert not torch.equal(both[False], both[True])


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize(("name", "levels"), [("point_mae_tiny", {}), ("point_bert", {"part_levels": (16, 8)})])
def test_parts_are_segmented(name, levels, settings):
    model, category = small(name, task="partseg", num_parts=4, num_categories=2, **levels), torch.tensor([0, 1, 1])
    with torch.no_grad():
        base = model(clouds(), category)
    adapter = pcclora.attach(model, SETTINGS[settings])
    together = model.eval()(clouds(), category)
    assert together.shape == (3, 32, 4) and not torch.equal(together, base)
    alone = torch.cat([model(clouds()[i : i + 1], category[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-6)
    (model.train()(clouds(), category).square().sum() + adapter.regularization()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
    assert not adapter.seen.keys() - {"entropy"}


def test_the_first_stage_trains_with_its_norm_and_is_saved(tmp_path):
    model = small()
    adapter = pcclora.attach(model, PPTConfig(m=3))
    first, second = model.encoder.first_conv, model.encoder.second_conv
    trained, moved = trained_with_tokens(model)
    assert {name.split(".")[0] for name in trained} == {"encoder", "pos_embed"}
    assert moved and all(name.startswith("encoder.first_conv.1.") for name in moved)
    model.train()
    assert first[1].training and not second[1].training
    before = first[1].running_mean.clone(), second[1].running_mean.clone()
    model(clouds()).sum().backward()
    assert not torch.equal(first[1].running_mean, before[0]) and torch.equal(second[1].running_mean, before[1])
    assert all(p.grad is not None for p in first.parameters()) and all(p.grad is None for p in second.parameters())
    assert set(moved) <= set(adapter.trained_buffers)
    pcclora.save_adapter(model, tmp_path)
    fresh = small()
    pcclora.load_adapter(fresh, tmp_path)
    assert torch.equal(fresh.encoder.first_conv[1].running_mean, first[1].running_mean)


@pytest.mark.parametrize("settings", [*SETTINGS.values(), PointLoRAConfig(prompts=False)])
def test_nothing_is_computed_once_for_all_epochs(settings):
    model = small()
    pcclora.attach(model, settings)
    assert constant_stage(model, clouds(1)) is None


@pytest.mark.parametrize("settings", [PPTConfig(num_groups=33), PPTConfig(group_size=40), PointLoRAConfig()])
def test_a_cloud_with_too_few_points_is_refused(settings):
    model = small()
    pcclora.attach(model, settings)
    with pytest.raises(
        PccloraError, match=r"further groups of \d+ points cannot be made of a cloud of 32 points; choose"
    ):
        model(clouds())


def test_values_without_a_meaning_are_refused():
    for wrong in ({"m": 0}, {"num_groups": 0}, {"group_size": -1}):
        with pytest.raises(PccloraError, match=f"{next(iter(wrong))} is .*; at least 1"):
            PPTConfig(**wrong)
    with pytest.raises(PccloraError, match="r is 0"):
        PointLoRAConfig(r=0)
    with pytest.raises(PccloraError, match="one value of each for every set"):
        PointLoRAConfig(num_groups=(64,))
    with pytest.raises(PccloraError, match="a set of 64 groups of 64 points, 65 chosen"):
        PointLoRAConfig(chosen=(32, 65))
    with pytest.raises(PccloraError, match="parameters; at most"):
        pcclora.attach(small(), PPTConfig(m=10**12))
    with pytest.raises(PccloraError, match="must train; name 'cls_head_finetune'"):
        pcclora.attach(small(), PPTConfig(m=3, modules_to_save=("cls_token",)))


def test_the_scorer_hears_of_its_entropy_alone():
    model, adapter, x = attached("pointlora", "point_mae_tiny", steps=2)
    scorer = list(adapter.scorer.parameters())
    model.zero_grad()
    model.train()
    model(x).sum().backward()
    assert all(parameter.grad is None for parameter in scorer)
    model(x)
    adapter.regularization().backward()
    assert all(parameter.grad.any() for parameter in scorer)
    model.eval()(x)
    assert adapter.regularization() == 0


def test_without_prompts_pointlora_merges():
    model, adapter, x = attached("pointlora_plain", "point_mae_tiny", steps=2)
    assert adapter.mergeable and not adapter.places_at
    assert {name.rpartition(".")[2] for name in adapter.acts_on} == {"qkv", "proj"}
    apart = output(model, x)
    pcclora.merge(model)
    torch.testing.assert_close(output(model, x), apart, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("prompts", [True, False])
def test_peft_is_not_given_half_of_pointlora(prompts, tmp_path):
    model = small()
    pcclora.attach(model, PointLoRAConfig(r=2, prompts=prompts, modules_to_save=("cls_head_finetune",)))
    with pytest.raises(
        PccloraError, match="peft cannot hold what PointLoRA trains beside its factors; use save_adapter"
    ):
        pcclora.export_peft(model, tmp_path / "peft")
    assert not (tmp_path / "peft").exists()

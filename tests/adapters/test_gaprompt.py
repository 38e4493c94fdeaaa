"""GAPrompt: what its readings of neighbours mean for a batch, what moves, and what it refuses."""

import re

import pytest
import torch

import pcclora
from pcclora import PccloraError
from pcclora.adapters import GAPromptConfig
from pcclora.adapters.methods.gaprompt import make_scene
from pcclora.studies.fewshot.features import constant_stage
from tests.adapters.backbones import point_mae_tiny
from tests.adapters.cases import GAPROMPT, output, train


@pytest.mark.parametrize(("neighbours", "leaks"), [("patches", False), ("prompts", False), ("leaky", True)])
def test_only_the_leaky_reading_looks_at_other_clouds(neighbours: str, leaks: bool) -> None:
    model, x = point_mae_tiny()
    adapter = pcclora.attach(model, GAPromptConfig(**GAPROMPT, neighbours=neighbours))
    train(model, adapter, x, steps=2)
    together = output(model, x)
    alone = torch.cat([output(model, cloud[None]) for cloud in x])
    assert torch.allclose(alone[0], together[0], atol=1e-5)  # before the first cloud there is none
    assert torch.allclose(alone[1:], together[1:], atol=1e-5) is not leaks


def test_readings_differ_only_where_prompts_are() -> None:
    answers = []
    for neighbours in ("patches", "prompts"):
        model, x = point_mae_tiny()
        torch.manual_seed(5)
        adapter = pcclora.attach(model, GAPromptConfig(**GAPROMPT, neighbours=neighbours))
        seen = []
        model.blocks[0].register_forward_hook(lambda _, __, out, seen=seen: seen.append(out))
        output(model, x)
        adapter.prompts = torch.nn.Parameter(adapter.prompts[:0])
        answers.append((seen[0], output(model, x)))
    (first, plain), (second, again) = answers
    assert not torch.equal(first, second) and torch.equal(plain, again)


def test_points_are_moved_and_added_before_they_are_grouped() -> None:
    model, x = point_mae_tiny()
    adapter = pcclora.attach(model, GAPromptConfig(**GAPROMPT))
    seen = []
    model.group.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    output(model, x)
    o, _ = adapter.net(x)
    torch.testing.assert_close(seen[0][:, :-2], x + 0.8 * o * x)
    torch.testing.assert_close(seen[0][:, -2:], (5 * adapter.points).expand(len(x), -1, -1))


def test_tokens_are_not_kept_while_points_move() -> None:
    model, x = point_mae_tiny()
    pcclora.attach(model, GAPromptConfig(**GAPROMPT))
    assert constant_stage(model, x[:1]) is None


def test_fewer_centres_than_groups_are_all_groups() -> None:
    scene = make_scene(torch.randn(2, 7, 3), 64, 16)
    assert scene.own.shape == (2, 7) and scene.near.shape == (2, 7, 7)
    torch.testing.assert_close(scene.weights.sum(-1), torch.ones(2, 7))
    assert all(sorted(own.tolist()) == list(range(7 * b, 7 * b + 7)) for b, own in enumerate(scene.own))


def test_a_cloud_of_too_few_points_is_refused() -> None:
    model, x = point_mae_tiny()
    pcclora.attach(model, GAPromptConfig(**{**GAPROMPT, "shape_groups": (40, 8)}))
    with pytest.raises(PccloraError, match=r"a cloud of 32 points cannot be cut into 40 groups; lower adapter\.shape"):
        model(x)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"m": 0}, "m is 0; at least 1"),
        ({"prompts": 0}, "prompts is 0; at least 1"),
        ({"group_size": -1}, "group_size is -1; at least 1"),
        ({"prompt_dropout": 1.0}, "prompt_dropout is 1.0; it lies in [0, 1)"),
        ({"shape_groups": (8, 16)}, "shape_groups is (8, 16); a number and one not above it"),
        ({"shape_groups": (8,)}, "shape_groups is (8,); a number and one not above it"),
        ({"neighbours": "all"}, "neighbours is 'all'; use patches, prompts or leaky"),
    ],
)
def test_settings_without_meaning_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(PccloraError, match=re.escape(f"gaprompt: {message}")):
        GAPromptConfig(**wrong)


def test_a_frozen_head_is_refused() -> None:
    model, _ = point_mae_tiny()
    with pytest.raises(PccloraError, match="reads other features, so it must train; name 'cls_head_finetune'"):
        pcclora.attach(model, GAPromptConfig(**GAPROMPT, modules_to_save=("cls_token",)))

"""One table over all models of point clouds: forward, backward, shapes, names, refusals."""

import pytest
import torch

from pcclora.errors import PccloraError
from pcclora.models import create_model, list_models, read_checkpoint
from pcclora.models.load import bundled_weights
from pcclora.models.points.masking import random_mask
from pcclora.models.points.transformer import Attention, DropPath
from pcclora.registry import MODELS

POINTS = ["act", "point_bert", "point_mae", "point_mae_tiny", "recon", "recon_plain"]
CASES = [(name, "cls") for name in POINTS] + [("point_mae", "pretrain"), ("point_mae_tiny", "pretrain")]
SEGMENTERS = [(name, "partseg") for name in POINTS]
CATEGORY = torch.tensor([0, 2, 1, 2])
# A constant added before batch normalisation in train mode changes nothing: its gradient is zero but for rounding.
BEFORE_NORM = ("first_conv.0.bias", "first_conv.3.bias", "second_conv.0.bias", "finetune.0.bias", "finetune.4.bias")
BEFORE_NORM += ("mlp_convs.0.bias", "mlp_convs.1.bias", "convs1.bias", "convs2.bias", "conv1.bias")


@pytest.mark.parametrize(("name", "task"), CASES + SEGMENTERS)
def test_every_parameter_gets_a_gradient(name, task, small, points):
    model = small(name, task=task)
    out = model(points, CATEGORY) if task == "partseg" else model(points)
    assert out.shape == {"pretrain": (), "cls": (4, 5), "partseg": (4, 40, 7)}[task]
    labels = torch.arange(out[..., 0].numel()) % 5 if task != "pretrain" else None
    (out if labels is None else torch.nn.functional.cross_entropy(out.flatten(0, -2), labels)).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        if not (key.endswith(BEFORE_NORM) and name != "point_bert"):
            assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize(("name", "task"), CASES)
def test_declares_what_adapters_and_tools_read(name, task, small, points):
    model = small(name, task=task)
    assert model.task == task and model.num_classes == (5 if task == "cls" else 0)
    assert model.config.dim == 24
    features = model.eval().features(points)
    if task == "cls":
        assert features.shape == (4, model.cls_head_finetune[0].in_features)
        assert model.modules_to_save == ("cls_head_finetune", "cls_token", "cls_pos")
        assert torch.equal(model.cls_head_finetune(features), model(points))
    else:
        assert features.shape == (4, 24) and model.modules_to_save == ()


@pytest.mark.parametrize(("name", "task"), [case for case in CASES if case[1] == "cls"] + SEGMENTERS)
def test_a_cloud_does_not_depend_on_its_batch(name, task, small, points):
    model = small(name, task=task).eval()
    inputs = (points, CATEGORY) if task == "partseg" else (points,)
    with torch.no_grad():
        alone = model(*(value[2:3] for value in inputs))
        torch.testing.assert_close(model(*inputs)[2:3], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "task", "keys", "millions"),
    [
        ("point_mae", "cls", 174, 22.10),
        ("point_mae", "pretrain", 209, 29.01),
        ("point_mae", "partseg", 192, 27.06),
        ("point_bert", "cls", 164, 22.07),
        ("point_bert", "partseg", 223, 27.09),
        ("act", "partseg", 192, 27.06),
        ("recon", "partseg", 342, 48.54),
        ("recon_plain", "partseg", 192, 27.06),
        ("act", "cls", 174, 22.10),
        ("recon", "cls", 322, 43.58),
        ("recon_plain", "cls", 174, 22.10),
    ],
)
def test_sizes_are_the_published_ones(name, task, keys, millions):
    model = create_model(name, task=task)
    assert len(model.state_dict()) == keys
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 2) == millions


@pytest.mark.parametrize("name", POINTS)
def test_groups_are_those_of_the_released_network_unless_given(name):
    tiny = name == "point_mae_tiny"
    tasks = {"cls": 64, "partseg": 128} | ({"pretrain": 64} if name.startswith("point_mae") else {})
    for task, groups in tasks.items():
        model = create_model(name, task=task, depth=3)
        assert model.config.num_groups == (32 if tiny else groups)
        assert create_model(name, task=task, depth=3, num_groups=64).config.num_groups == 64
    config = MODELS.get(name).config()  # of a YAML that does not say it
    model = MODELS.build(config, task="partseg", num_classes=1, num_parts=5, num_categories=2)
    neighborhoods, _ = model.group(torch.randn(1, 300, 3))
    assert neighborhoods.shape[1] == (32 if tiny else 128)


def test_tiny_has_the_documented_widths():
    config = create_model("point_mae_tiny").config
    assert (config.dim, config.depth, config.heads, config.decoder_depth) == (96, 6, 3, 2)
    assert (config.num_groups, config.group_size, config.encoder_widths) == (32, 32, (32, 64, 128))


def test_list_models():
    assert list_models("point_*") == ["point_bert", "point_mae", "point_mae_tiny"]
    assert list_models() == sorted([*POINTS, "dgcnn", "pointnet", "vit_mini"])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("point_mea", {}, "did you mean 'point_mae'"),
        ("point_mae", {"num_group": 64}, "did you mean 'num_groups'"),
        ("point_mae", {"depth": "many"}, "depth"),
        ("point_mae", {"dim": 100}, "dim 100 is not divisible by heads 6"),
        ("point_mae", {"depth": 0}, "depth is 0"),
        ("point_mae", {"depth": 10**7}, "depth is 10,000,000, up to 65,536"),
        ("point_mae", {"depth": 1001}, "depth is 1,001, up to 1,000"),
        ("point_mae", {"dim": 6 * 10**6}, "dim is 6,000,000, up to 65,536"),
        ("point_mae", {"dim": 60_000, "depth": 12}, "are 518,400,000,000 weights, up to 5,000,000,000"),
        ("point_mae_tiny", {"decoder_depth": 10**7}, "decoder_depth is 10,000,000"),
        ("point_mae_tiny", {"num_groups": 10**7}, "num_groups is 10,000,000"),
        ("point_mae_tiny", {"encoder_widths": (10**7, 8, 8)}, "a width of encoder_widths is 10,000,000"),
        ("point_mae", {"num_groups": -1}, "num_groups is -1, 0 or more"),
        ("point_mae", {"drop_path_rate": 1.5}, "drop_path_rate is 1.5"),
        ("point_mae", {"encoder_widths": (8, 8)}, "3 positive widths"),
        ("point_mae", {"task": "clss"}, "did you mean 'cls'"),
        ("point_mae", {"part_widths": (8, 8, 8)}, "4 positive widths"),
        ("point_bert", {"part_levels": (12, 16)}, "two numbers of points, descending"),
        ("point_bert", {"part_widths": (8, 6, 8)}, r"part_widths\[1\] is 6; a multiple of 4"),
        ("point_mae", {"task": "partseg", "num_parts": 0}, "num_parts is 0"),
        ("point_mae", {"task": "partseg", "num_categories": 0}, "num_categories is 0"),
        ("recon", {"task": "pretrain"}, "'recon' has no head for the task 'pretrain', only for cls, partseg"),
        ("point_mae", {"num_classes": 0}, "num_classes is 0"),
        ("point_bert", {"pretrained": True}, "no bundled weights"),
        ("point_bert", {"checkpoint": "bundled"}, "no bundled weights"),
        ("point_mae_tiny", {"pretrained": True, "checkpoint": "a.pth"}, "give one of them"),
        ("point_mae", {"checkpoint": "absent.pth"}, "absent.pth: no such file"),
    ],
)
def test_refusals(name, options, message):
    with pytest.raises(PccloraError, match=message):
        create_model(name, **options)


def test_bundled_weights():
    try:
        file = bundled_weights("point_mae_tiny")
    except PccloraError as error:
        pytest.skip(str(error))
    stored, state = read_checkpoint(file), create_model("point_mae_tiny", pretrained=True).state_dict()
    trunk = {key.removeprefix("MAE_encoder."): value for key, value in stored.items() if key.startswith("MAE_encoder.")}
    assert set(state) - set(trunk) == {key for key in state if key.startswith("cls_")}
    for key, value in trunk.items():
        assert torch.equal(state[key], value.to(state[key].dtype)), key


@pytest.mark.parametrize(
    "mask",
    [
        torch.zeros(4, 8, dtype=torch.bool),
        torch.ones(4, 8, dtype=torch.bool),
        torch.eye(4, 8).bool() | torch.tensor([[1], [0], [0], [0]]).bool(),
        torch.eye(4, 8),
        torch.eye(4, 7).bool(),
    ],
)
def test_masks_that_cannot_be_used(mask, small, points):
    with pytest.raises(PccloraError, match="mask"):
        small(task="pretrain")(points, mask=mask)


def test_random_mask_follows_the_seed_and_hides_the_ratio(small, points):
    model = small(task="pretrain").eval()
    mask = random_mask(50, 8, 0.6)
    assert mask.sum(dim=1).eq(4).all() and len(mask.unique(dim=0)) > 10  # int(0.6 * 8)
    losses = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        losses.append(model(points).item())
    assert losses[0] == losses[1] != losses[2]


def test_hidden_groups_cannot_be_seen(small, points):
    """The reconstruction does not depend on a hidden group's points, only on its centre."""
    model = small(task="pretrain").eval()
    neighborhoods, _ = model.MAE_encoder.group(points)
    mask = torch.zeros(4, 8, dtype=torch.bool)
    mask[:, 5] = True
    seen = []
    model.increase_dim.register_forward_hook(lambda _, __, out: seen.append(out))
    for shift in (0.0, 1.0):
        changed = neighborhoods + shift * mask[..., None, None]
        model.MAE_encoder.group.forward = lambda points, x=changed: (x, torch.zeros(4, 8, 3))
        model(points, mask=mask)
    assert torch.equal(seen[0], seen[1])


def test_drop_path_keeps_the_expectation_and_whole_samples():
    torch.manual_seed(0)
    out = DropPath(0.25)(torch.ones(4000, 2, 3))
    assert out.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert torch.equal(out.amin(dim=(1, 2)), out.amax(dim=(1, 2)))
    assert abs(out.mean() - 1) < 0.05
    assert torch.equal(DropPath(0.25).eval()(out), out)


def test_attention_equals_the_spelled_out_form():
    torch.manual_seed(0)
    attention, x = Attention(12, 3).double(), torch.randn(2, 5, 12, dtype=torch.float64)
    q, k, v = attention.qkv(x).view(2, 5, 3, 3, 4).permute(2, 0, 3, 1, 4)
    mixed = ((q @ k.transpose(-2, -1)) * 4**-0.5).softmax(dim=-1) @ v
    expected = attention.proj(mixed.transpose(1, 2).reshape(2, 5, 12))
    torch.testing.assert_close(attention(x), expected, rtol=1e-12, atol=1e-12)

"""The branch for what points have beside their places: nothing at first, and learnt beside any adapter."""

import pytest
import torch

import pcclora
from pcclora.errors import PccloraError
from pcclora.models.points.channels import ChannelBranch

SMALL = {
    "point_mae": {"encoder_widths": (8, 16, 32)},
    "point_bert": {
        "encoder_widths": (8, 16, 32),
        "encoder_dim": 16,
        "part_widths": (32, 32, 16),
        "part_levels": (32, 16),
    },
    "act": {"encoder_widths": (8, 16, 32)},
    "recon": {"encoder_widths": (8, 16, 32)},
    "recon_plain": {"encoder_widths": (8, 16, 32)},
}
POINTS = torch.rand(2, 96, 7, generator=torch.Generator().manual_seed(0))


def make(name, task, channels):
    torch.manual_seed(0)
    sizes = {"dim": 32, "depth": 3, "heads": 2, "num_groups": 8, "group_size": 8, **SMALL[name]}
    return pcclora.create_model(
        name, task=task, num_classes=3, num_parts=4, num_categories=2, channels=channels, **sizes
    )


@pytest.mark.parametrize("task", ["cls", "partseg"])
@pytest.mark.parametrize("name", SMALL)
def test_at_first_the_model_is_the_one_without_bit_for_bit(name, task):
    plain, model = make(name, task, 0), make(name, task, 4)
    category = (torch.tensor([0, 1]),) if task == "partseg" else ()
    for module in (plain, model):
        torch.manual_seed(1)
        module.adapter = pcclora.attach(module, pcclora.CLoRAConfig(r=2, bases=2))
        module.eval()
    expected = plain(POINTS[..., :3], *category)
    assert torch.equal(model(POINTS, *category), expected)
    assert all(parameter.requires_grad for parameter in model.channels.parameters())
    names = {n for n, p in model.named_parameters() if p.requires_grad} - {
        n for n, p in plain.named_parameters() if p.requires_grad
    }
    assert names == {f"channels.{n}" for n, _ in model.channels.named_parameters()}
    with torch.no_grad():
        model.channels.out.weight.fill_(0.1)
    assert not torch.equal(model(POINTS, *category), expected)


def test_it_is_the_largest_over_the_nearest_points_of_what_a_shared_layer_makes_of_them():
    torch.manual_seed(0)
    branch, centers = ChannelBranch(4, 5, 6), POINTS[:, :3, :3] + 0.01
    torch.nn.init.normal_(branch.out.weight)
    found = branch(POINTS, centers)
    for b in range(2):
        for g in range(3):
            order = (POINTS[b, :, :3] - centers[b, g]).norm(dim=1).argsort()[:6]
            rows = torch.cat([POINTS[b, order, :3] - centers[b, g], POINTS[b, order, 3:]], dim=1)
            torch.testing.assert_close(found[b, g], branch.out(branch.local(rows).max(dim=0).values))


def test_an_adapter_file_has_it_and_another_model_takes_it(tmp_path):
    model = make("point_mae", "cls", 4)
    pcclora.attach(model, pcclora.LoRAConfig(r=2))
    torch.nn.init.normal_(model.channels.out.weight)
    expected = model.eval()(POINTS)
    pcclora.save_adapter(model, tmp_path)
    other = make("point_mae", "cls", 4).eval()
    pcclora.load_adapter(other, tmp_path)
    assert torch.equal(other(POINTS), expected)
    pcclora.merge(other)
    torch.testing.assert_close(other(POINTS), expected)
    with pytest.raises(PccloraError, match="channels"):
        pcclora.load_adapter(make("point_mae", "cls", 0), tmp_path)


def test_a_checkpoint_of_places_alone_loads_and_one_with_the_branch_does(tmp_path):
    model = make("point_mae", "cls", 4)
    torch.nn.init.normal_(model.channels.out.weight)
    torch.save(make("point_mae", "cls", 0).state_dict(), tmp_path / "plain.pth")
    torch.save(model.state_dict(), tmp_path / "whole.pth")
    plain, whole = make("point_mae", "cls", 4), make("point_mae", "cls", 4)
    assert set(pcclora.load_checkpoint(plain, tmp_path / "plain.pth").missing) == {
        f"channels.{name}" for name in plain.channels.state_dict()
    }
    pcclora.load_checkpoint(whole, tmp_path / "whole.pth")
    assert torch.equal(whole.channels.out.weight, model.channels.out.weight)


def test_other_columns_and_other_models_are_refused():
    model = make("point_mae", "cls", 4)
    with pytest.raises(PccloraError, match=r"\(2, 96, 3\): \(B, N, 7\) is expected"):
        model(POINTS[..., :3])
    for name in ("pointnet", "dgcnn"):
        with pytest.raises(PccloraError, match="knows the places of points alone; data.features is for"):
            pcclora.create_model(name, num_classes=3, channels=3)
    with pytest.raises(PccloraError, match="knows the places of points alone"):
        pcclora.create_model("point_mae_tiny", task="pretrain", channels=3)

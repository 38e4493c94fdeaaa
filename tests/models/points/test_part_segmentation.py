"""The segmenters are the published networks, computed in fewer operations: the same numbers, gradients, statistics."""

import copy

import pytest
import torch
import torch.nn.functional as F

import pcclora
from pcclora.errors import PccloraError
from pcclora.metrics import count_macs
from pcclora.models import create_model, list_models
from pcclora.ops import gather, knn_points, sample_farthest_points
from pcclora.tools.benchmarks import partseg

CATEGORY = torch.tensor([0, 2, 1, 2])
POINTS = [name for name in list_models() if name not in ("dgcnn", "pointnet", "vit_mini")]  # which have no such head


@pytest.fixture
def literal():
    """The benchmark's network, which is spelled out layer by layer on channels (B, C, N)."""
    return partseg


def literal_upsampling(layers, query, of_query, points, of_points):
    """Point-BERT's two edge convolutions, on every edge: features (B, C, M) of queries, (B, C, G) of points."""
    for layer in (layers.layer1, layers.layer2):
        idx = knn_points(query, points, K=layers.neighbors).idx
        neighbors = gather(of_points.transpose(1, 2), idx).permute(0, 3, 1, 2)  # (B, C, M, K)
        own = of_query.unsqueeze(3).expand_as(neighbors)
        of_query = layer(torch.cat([neighbors - own, own], dim=1)).max(dim=3).values
        points, of_points = query, of_query
    return of_query


def literal_point_bert(model, twin, points, category):
    """Point-BERT's network, by the benchmark's plain layers."""
    neighborhoods, centers = model.group(points)
    B = len(points)
    x = model.reduce_dim(twin.mini_pointnet(model.encoder, neighborhoods))
    x = torch.cat([model.cls_token.expand(B, -1, -1), x], dim=1)
    position = torch.cat([model.cls_pos.expand(B, -1, -1), model.pos_embed(centers)], dim=1)
    outputs = []
    for block in model.blocks:
        x = block(x + position)
        outputs.append(model.norm(x)[:, 1:].transpose(1, 2))
    early, middle, late = outputs[0], outputs[1], outputs[-1]  # of depth 2 or 3
    fine, coarse = (sample_farthest_points(points, K=level)[0] for level in model.config.part_levels)
    known = twin.propagate(model.propagation_2, coarse, centers, middle)
    known = literal_upsampling(model.dgcnn_pro_2, coarse, known, centers, late)
    own = twin.propagate(model.propagation_1, fine, centers, early)
    known = literal_upsampling(model.dgcnn_pro_1, fine, own, coarse, known)
    code = F.one_hot(category, model.num_categories).to(points.dtype).unsqueeze(1).expand(-1, points.shape[1], -1)
    x = twin.propagate(model.propagation_0, points, fine, known, code=code)
    x = model.dropout(F.relu(model.bn1(twin.conv(model.conv1, x))))
    return twin.conv(model.conv2, x).transpose(1, 2)


def settled(model):
    """The model in double precision with nothing at its default, as after training; no dropout."""
    generator = torch.Generator().manual_seed(3)
    for parameter in model.double().parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    for key, buffer in model.named_buffers():
        if key.endswith("running_var"):
            buffer.uniform_(0.5, 2, generator=generator)
        elif key.endswith("running_mean"):
            buffer.normal_(generator=generator)
    model.dropout.p = 0.0
    return model


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", ["point_mae", "point_bert"])
def test_equals_the_literal_network(name, mode, literal, small, points):
    model = settled(small(name, task="partseg", depth=3)).train(mode == "train")
    twin = copy.deepcopy(model)
    if name == "point_mae":
        spelled_out = literal.literal_of(twin)
    else:

        def spelled_out(points, category):
            return literal_point_bert(twin, literal, points, category)

    results = []
    for network, form in ((model, model), (twin, spelled_out)):
        x = points.double().requires_grad_()
        logits = form(x, CATEGORY)
        logits.square().sum().backward()
        results.append([logits, x.grad, *(p.grad for p in network.parameters()), *network.buffers()])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", POINTS)
@torch.no_grad()
def test_any_points_are_labelled_in_any_pieces(name, small, points):
    model = settled(small(name, task="partseg")).eval()
    points = points.double()
    whole = model(points, CATEGORY)
    encoded = model.encode(points[:, :32], CATEGORY)
    pieces = torch.cat([model.decode(encoded, piece) for piece in points.split(7, dim=1)], dim=1)
    together = model(points[:, :32], CATEGORY, query=points)
    torch.testing.assert_close(pieces, together, rtol=1e-10, atol=1e-10)
    assert not torch.allclose(together, whole)  # the trunk saw fewer points
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(points, CATEGORY, query=points[:, order]), whole[:, order], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", POINTS)
@torch.no_grad()
def test_the_category_matters(name, small, points):
    model = settled(small(name, task="partseg")).eval()
    logits = [model(points[:1].double(), torch.tensor([category])) for category in range(3)]
    assert not torch.allclose(logits[0], logits[1]) and not torch.allclose(logits[1], logits[2])


@pytest.mark.parametrize("name", POINTS)
def test_declares_what_adapters_and_tools_read(name, small):
    model = small(name, task="partseg")
    assert (model.task, model.num_parts, model.num_categories, model.num_classes) == ("partseg", 7, 3, 0)
    trunk = {"encoder", "reduce_dim", "pos_embed", "blocks", "norm"}
    tokens = {"cls_token", "cls_pos", "img_token", "img_pos", "text_token", "text_pos"}
    names = {key.split(".")[0] for key in model.state_dict()}
    assert set(model.head_names) == names - trunk - tokens
    assert set(model.modules_to_save) == names - trunk - {name for name in tokens if name[:3] != "cls"}


@pytest.mark.parametrize("name", ["point_mae_tiny", "point_bert", "recon"])
def test_an_adapter_keeps_the_whole_head(name, small, points, tmp_path):
    model, base = small(name, task="partseg"), small(name, task="partseg").state_dict()
    pcclora.attach(model, pcclora.CLoRAConfig(r=2, bases=2))
    trained = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    assert {key.split(".")[0] for key in trained} == {"adapters", *model.modules_to_save}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        model.train()(points, CATEGORY).square().mean().backward()
        optimizer.step()
    pcclora.save_adapter(model, tmp_path / "adapter")
    fresh = small(name, task="partseg")
    fresh.load_state_dict(base)
    pcclora.load_adapter(fresh, tmp_path / "adapter")
    assert torch.equal(fresh.eval()(points, CATEGORY), model.eval()(points, CATEGORY))


@torch.no_grad()
def test_half_precision_of_autocast(small, points):
    model = small(task="partseg").eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(points, CATEGORY)
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), model(points, CATEGORY), rtol=0.1, atol=0.05)


def test_published_operations_are_those_of_the_literal_network():
    model = create_model("point_mae", task="partseg", num_groups=128)
    count = count_macs(model, torch.rand(1, 2048, 3), torch.tensor([3]))
    head = 2048 * (1155 * 1536 + 1536 * 1024 + 3392 * 512 + 512 * 256 + 256 * 50) + 16 * 64
    tokenizer = 128 * 32 * (3 * 128 + 128 * 256 + 512 * 512 + 512 * 384)
    trunk = 128 * (3 * 128 + 128 * 384 + 12 * 12 * 384**2)
    assert count.literature == head + tokenizer + trunk
    assert count.parts["trunk"] == trunk + 12 * 2 * 128**2 * 384  # the products inside attention
    at_points = 2048 * (3 * 1536 + 1536 * 1024 + 1024 * 512 + 512 * 256 + 256 * 50)
    assert count.parts["head"] == at_points + 128 * 1152 * 1536 + 2368 * 512 + 16 * 64
    assert sum(count.parts.values()) == count.total < 0.65 * count.literature


def test_published_operations_of_point_bert():
    model = create_model("point_bert", task="partseg", num_groups=64)
    count = count_macs(model, torch.rand(1, 1024, 3), torch.tensor([3]))
    propagation = 387 * 1536 + 1536 * 384
    edges = 4 * (768 * 512 + 1024 * 384)
    head = (256 + 512) * (propagation + edges) + 1024 * (403 * 1536 + 1536 * 384 + 384 * 128 + 128 * 50)
    tokenizer = 64 * 32 * (3 * 128 + 128 * 256 + 512 * 512 + 512 * 256) + 64 * 256 * 384
    trunk = 64 * (3 * 128 + 128 * 384) + 65 * 12 * 12 * 384**2
    assert count.literature == head + tokenizer + trunk


@pytest.mark.parametrize(
    ("category", "message"),
    [
        (torch.tensor([0, 1, 3, 0]), r"category \[0, 1, 3, 0\]: the model has 0..2"),
        (torch.tensor([0, 1, -1, 0]), "the model has 0..2"),
        (torch.tensor([0, 1]), r"torch.int64 \(2,\); an integer for each of the 4 clouds"),
        (torch.zeros(4, 3), r"torch.float32 \(4, 3\)"),
    ],
)
def test_categories_that_cannot_be_used(category, message, small, points):
    with pytest.raises(PccloraError, match=message):
        small(task="partseg")(points, category)


def test_points_that_cannot_be_used(small, points):
    with pytest.raises(PccloraError, match=r"\(4, 40, 2\)"):
        small(task="partseg")(points, CATEGORY, query=points[..., :2])
    with pytest.raises(PccloraError, match="16"):
        small("point_bert", task="partseg")(points[:, :14], CATEGORY)

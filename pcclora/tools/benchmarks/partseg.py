"""Part segmentation of 2,048 points by Point-MAE: our network, and the same one written as its paper draws it.

The literal network has the same parameters, transformer, sampling and neighbour search; only the mini-PointNet and the
head are spelled out, layer by layer, on channels (B, C, N). The bound is our network's multiply-accumulates at the rate
that a matrix product reaches here. Peak memory is what one forward pass adds to a process that holds the model.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pcclora
from pcclora.metrics import count_macs
from pcclora.ops import knn_points
from pcclora.tools.benchmarks.resources import bound, peak_mb
from pcclora.tools.benchmarks.timing import Row, race

N, GROUPS, BATCHES = 2048, 128, (1, 8)
MODEL: dict[str, Any] = {"task": "partseg", "num_groups": GROUPS}


def measure(rounds: int) -> list[Row]:
    """Time inference on one cloud and on a batch.

    Args:
        rounds: How often.
    """
    rows: list[Row] = []
    for B in BATCHES:
        model, points, category = problem(B)
        forms: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"ours": model, "literal": literal_of(model)}
        ours, theirs = (torch.no_grad()(form)(points, category) for form in forms.values())
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
        calls = {method: _inference(form, points, category) for method, form in forms.items()}
        case = f"{N}/{GROUPS} x {B}"
        raced = race(case, calls, rounds=rounds, reference="literal")
        rows += [replace(row, peak_mb=peak_mb(prepare, row.method, B)) for row in raced]
        rows.append(Row(case, "bound", (bound(count_macs(model, points, category).total * B),), "literal"))
    return rows


def problem(B: int) -> tuple[Any, Tensor, Tensor]:
    """Return the model in eval mode, clouds (B, N, 3) and their categories (B,)."""
    torch.manual_seed(0)
    model: Any = pcclora.create_model("point_mae", **MODEL).eval()
    return model, F.normalize(torch.randn(B, N, 3), dim=2), torch.arange(B) % model.num_categories


def literal_of(model: Any) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the literal network with a segmenter's parameters: (points (B, N, 3), category (B,)) -> logits."""

    def forward(points: Tensor, category: Tensor) -> Tensor:
        neighborhoods, centers = model.group(points)
        x, position = mini_pointnet(model.encoder, neighborhoods), model.pos_embed(centers)
        outputs = []
        for block in model.blocks:
            x = block(x + position)
            outputs.append(model.norm(x).transpose(1, 2))
        depth = len(outputs)
        known = torch.cat([outputs[depth * third // 3 - 1] for third in (1, 2, 3)], dim=1)  # (B, 3 C, G)
        one_hot = F.one_hot(category, model.num_categories).to(points.dtype)
        code = [known.max(dim=2).values, known.mean(dim=2), model.label_conv(one_hot.unsqueeze(2)).squeeze(2)]
        repeated = torch.cat(code, dim=1).unsqueeze(2).repeat(1, 1, points.shape[1])
        x = torch.cat([propagate(model.propagation_0, points, centers, known), repeated], dim=1)
        x = model.dropout(F.relu(model.bns1(conv(model.convs1, x))))
        x = F.relu(model.bns2(conv(model.convs2, x)))
        return conv(model.convs3, x).transpose(1, 2)

    return forward


def mini_pointnet(encoder: Any, neighborhoods: Tensor) -> Tensor:
    """Map neighbourhoods (B, G, K, 3) to tokens (B, G, C), every layer at every point."""
    B, G, K, _ = neighborhoods.shape
    local = encoder.first_conv(neighborhoods.flatten(0, 1).transpose(1, 2))
    pooled = local.max(dim=2, keepdim=True).values
    joined = torch.cat([pooled.expand(-1, -1, K), local], dim=1)
    tokens: Tensor = encoder.second_conv(joined).max(dim=2).values.view(B, G, -1)
    return tokens


def propagate(module: Any, query: Tensor, centers: Tensor, features: Tensor, *, code: Tensor | None = None) -> Tensor:
    """Map features (B, C, G) of the centres to (B, C', N) of the queries: interpolate, join with a code (B, N, D)."""
    dists, idx, _ = knn_points(query, centers, K=3)
    weight = 1 / (dists + 1e-8)
    weight = weight / weight.sum(dim=2, keepdim=True)  # (B, N, 3)
    neighbors = features.gather(2, idx.flatten(1).unsqueeze(1).expand(-1, features.shape[1], -1))
    x = (neighbors.view(*neighbors.shape[:2], *idx.shape[1:]) * weight.unsqueeze(1)).sum(dim=3)
    beside = query if code is None else torch.cat([code, query], dim=2)
    x = torch.cat([beside.transpose(1, 2), x], dim=1)
    for layer, norm in zip(module.mlp_convs, module.mlp_bns, strict=True):
        x = F.relu(norm(conv(layer, x)))
    return x


def conv(layer: nn.Conv1d, x: Tensor) -> Tensor:
    """Apply a 1x1 convolution to (B, C, N)."""
    return F.conv1d(x, layer.weight, layer.bias)


def prepare(method: str, B: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return a pass over a small cloud, which loads code, and one over B whole clouds."""
    model, points, category = problem(B)
    form = model if method == "ours" else literal_of(model)
    return _inference(form, points[:1, : 2 * GROUPS], category[:1]), _inference(form, points, category)


def _inference(form: Callable[[Tensor, Tensor], Tensor], points: Tensor, category: Tensor) -> Callable[[], object]:
    return torch.no_grad()(lambda: form(points, category))

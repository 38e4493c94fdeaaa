"""``gaprompt``: points moved and added, prompts, and tokens that pass along the surface behind every block.

Ai et al., GAPrompt: Geometry-Aware Point Cloud Prompt for 3D Vision Model (arXiv 2505.04119). Four parts:

* A small PointNet++ reads the cloud: points <- points + 0.8 o * points, o of each point; its coarsest features give a
  shape feature F (C). ``points`` free points (times 5) are put behind the cloud, and the model cuts that into groups.
* In the first half of the blocks stand prompts E_i + 0.5 F + position(free coordinates), behind the prefix tokens.
* Behind every block: of the centres, ``groups`` and their ``group_size`` nearest centres are groups again;
  v_s = GELU(BN(max over the group of 2 x)) + 0.3 x_s;   x <- x + 0.3 (sum_s w_s v_s), w by inverse squared distance;
  then x <- x + 0.7 (QuickGELU(LN(x + 0.5 F) A + b1) C + b2), A (C, m); F is left out where there are no prompts.
* The head reads [class token, max of the groups, F], 3 C wide.

From the paper: all of it, m = 16, 10 prompts, 5 points, 64 groups of 16, Kaiming starts, prompts from zero.

Ours. Released code counts its lists of neighbours in a table of rows without the prompts, and reads them in one with
them: a cloud's groups are then other tokens than meant, and in a batch those of the cloud before it. ``neighbours``
says which rows are read: ``patches``, what the geometry means; ``prompts``, what the released code reads when a cloud
comes alone, as if its first rows were not the prompts; ``leaky``, what it reads in a batch, where the answer for a
cloud depends on those beside it: for comparison with released numbers only. Where there are no prompts all three agree.
What is never read is left out: prompts of the other half, two scalers and a map of each adapter. The choice of
neighbours and the weights w have no gradient, which where two centres coincide would be huge; the coordinates of the
prompts start in the cube of +-1, where the position embedding knows its way; no drop-path inside the groups.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.adapters.base import About, Adapter, AdapterConfig
from pcclora.adapters.branches import quick_gelu
from pcclora.adapters.head import widened
from pcclora.adapters.places import Place, find_places, prefix_tokens, token_width
from pcclora.adapters.prompts import put_in
from pcclora.errors import PccloraError
from pcclora.ops import gather, interpolate_nn, knn_points, sample_farthest_points
from pcclora.registry import ADAPTERS

FOURIER = 27  # x, and sine and cosine of x, 2 x, 4 x and 8 x
COARSE = 8  # features of each of the coarsest groups


@dataclass
class GAPromptConfig(AdapterConfig):
    """Settings of GAPrompt.

    Attributes:
        m: Width of the bottleneck.
        prompts: Number of prompts in each block of the first half.
        points: Number of points put behind each cloud.
        groups: How many of the centres get a group of centres; all, if there are fewer.
        group_size: Centres of such a group; all, if there are fewer.
        shape_groups: Groups of the network that reads the cloud, fine and coarse.
        neighbours: Which rows the groups of centres are: ``patches``, ``prompts`` or ``leaky``.
        prompt_dropout: Of the prompts, in training.
        shape_dropout: Inside what makes F, in training.
    """

    shown: ClassVar[tuple[str, ...]] = ("m", "prompts", "points", "neighbours")
    about: ClassVar[About | None] = About(
        "points moved by a small PointNet++, points added; prompts with a shape feature F in the first half; "
        "tokens passed along the surface and a bottleneck behind every block; head on [class, max, F]",
        "GAPrompt (2505.04119)",
        "neighbours are those of the cloud itself: released code reads other rows, in a batch of other clouds; "
        "what it never reads is left out",
    )

    m: int = 16
    prompts: int = 10
    points: int = 5
    groups: int = 64
    group_size: int = 16
    shape_groups: tuple[int, ...] = (128, 64)
    neighbours: Literal["patches", "prompts", "leaky"] = "patches"
    prompt_dropout: float = 0.1
    shape_dropout: float = 0.25

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        self.shape_groups = tuple(self.shape_groups)
        for name in ("m", "prompts", "points", "groups", "group_size"):
            if getattr(self, name) < 1:
                raise PccloraError(f"gaprompt: {name} is {getattr(self, name)}; at least 1 is needed")
        for name in ("prompt_dropout", "shape_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise PccloraError(f"gaprompt: {name} is {getattr(self, name)}; it lies in [0, 1)")
        if len(self.shape_groups) != 2 or not self.shape_groups[0] >= self.shape_groups[1] >= 1:
            raise PccloraError(
                f"gaprompt: shape_groups is {self.shape_groups}; a number and one not above it are needed"
            )
        if self.neighbours not in ("patches", "prompts", "leaky"):
            raise PccloraError(f"gaprompt: neighbours is '{self.neighbours}'; use patches, prompts or leaky")


class PointLayers(nn.Module):
    """Linear map, BatchNorm, ReLU, several times; each point for itself.

    Args:
        widths: Of the input and of each layer.
    """

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList([nn.Linear(*pair) for pair in pairwise(widths)])
        self.norms = nn.ModuleList([nn.BatchNorm1d(width) for width in widths[1:]])

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., widths[0]) to (..., widths[-1])."""
        rows = x.flatten(0, -2)
        for linear, norm in zip(self.maps, self.norms, strict=True):
            rows = F.relu(norm(linear(rows)))
        return rows.view(*x.shape[:-1], -1)


class ShapeNet(nn.Module):
    """A small PointNet++: a cloud -> how much each point moves, and features of its coarsest groups.

    Args:
        groups: How many, fine and coarse.
    """

    def __init__(self, groups: tuple[int, ...]) -> None:
        super().__init__()
        self.groups = groups
        self.fine, self.coarse = PointLayers(FOURIER, 64, 32, 64), PointLayers(64, 64, 32, COARSE)
        self.to_fine, self.to_points = PointLayers(64 + COARSE, 64, 32), PointLayers(FOURIER + 32, 32, 32)
        self.shift = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 3))

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Map clouds (B, N, 3) to o (B, N, 3), and features (B, coarse groups * 8)."""
        of_points = fourier(points)
        fine, of_fine = _abstract(points, of_points, self.fine, groups=self.groups[0], size=32)
        coarse, of_coarse = _abstract(fine, of_fine, self.coarse, groups=self.groups[1], size=16)
        carried = interpolate_nn(fine, coarse, of_coarse, K=32, eps=1e-4)
        back = self.to_fine(torch.cat([of_fine, carried], dim=-1))
        carried = interpolate_nn(points, fine, back, K=32, eps=1e-4)
        o = self.shift(self.to_points(torch.cat([of_points, carried], dim=-1)))
        return o, of_coarse.flatten(1)


class BehindBlock(nn.Module):
    """What one block's tokens pass through behind it.

    Args:
        C: Width of a token.
        m: Of the bottleneck.
    """

    def __init__(self, C: int, m: int) -> None:
        super().__init__()
        self.pooled, self.norm = nn.BatchNorm1d(C), nn.LayerNorm(C)
        self.down, self.up = nn.Linear(C, m), nn.Linear(m, C)
        for linear in (self.down, self.up):
            nn.init.normal_(linear.bias, std=1e-6)

    def forward(self, tokens: Tensor, patches: Tensor, scene: "Scene", shape: Tensor | None) -> Tensor:
        """Map patches (B, G, C) to the same.

        Args:
            tokens: (B, T, C), whose rows ``scene`` counts.
            patches: Those that go on.
            scene: The groups of centres.
            shape: 0.5 F (B, 1, C), if it is read here.
        """
        rows = tokens.flatten(0, 1)
        near = rows[scene.near].amax(dim=2)  # (B, S, C)
        pooled = F.gelu(self.pooled(2 * near.flatten(0, 1)).view_as(near)) + 0.3 * rows[scene.own]
        x = patches + 0.3 * (scene.weights.to(pooled) @ pooled)
        h = self.down(self.norm(x if shape is None else x + shape))
        passed: Tensor = x + 0.7 * self.up(quick_gelu(h))
        return passed


@dataclass(frozen=True)
class Scene:
    """The groups of centres of one batch, of tokens as one table of rows.

    Attributes:
        own: (B, S) the groups' own rows.
        near: (B, S, K) the rows of their members.
        weights: (B, G, S), of each group for each patch.
    """

    own: Tensor
    near: Tensor
    weights: Tensor

    def shifted(self, *, by: int, first: int) -> "Scene":
        """Return it with rows counted from ``first``, in a table that has ``by`` rows more for each cloud."""
        clouds = by * torch.arange(self.own.shape[0], device=self.own.device) + first
        return Scene(self.own + clouds[:, None], self.near + clouds[:, None, None], self.weights)


@ADAPTERS.register("gaprompt", config=GAPromptConfig)
class GAPrompt(Adapter):
    """GAPrompt on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the model cuts no clouds into groups, or has no position, blocks or head as this method needs.
    """

    config: GAPromptConfig
    starts_at_base = False  # the points are others
    released_mark = r"shift_net\."
    released_names: ClassVar[Mapping[str, str | None]] = {
        r"point_prompt\.points": "points",
        "prompt_cor": "coordinates",
        **{
            rf"shift_net\.{theirs}\.mlp_{kind}s\.(\d)\.(.*)": rf"net.{ours}.{here}.\1.\2"
            for theirs, ours in (
                ("abstraction_level1", "fine"),
                ("abstraction_level2", "coarse"),
                ("propagation2", "to_fine"),
                ("propagation1", "to_points"),
            )
            for kind, here in (("conv", "maps"), ("bn", "norms"))
        },
        r"shift_net\.mlp_position\.0\.(.*)": r"net.shift.0.\1",
        r"shift_net\.mlp_position\.3\.(.*)": r"net.shift.2.\1",
        r"shape_feature_mlp\.(.*)": r"shape.\1",
        **{
            rf"(?:blocks\.)?blocks\.(\d+)\.{theirs}\.(.*)": rf"behind.\1.{ours}.\2"
            for theirs, ours in (
                (r"out_transform\.0", "pooled"),
                (r"adapter\.layer_norm", "norm"),
                (r"adapter\.ln1", "down"),
                (r"adapter\.ln2", "up"),
            )
        },
        r"(?:blocks\.)?blocks\.([0-5])\.prompt_embeddings": r"prompts[\1]",
        r"(?:blocks\.)?blocks\.\d+\.(prompt_embeddings|scaler[12]|adapter\.scale\..*)": None,
    }

    def __init__(self, config: GAPromptConfig, model: nn.Module) -> None:
        blocks, others = find_places(model, ["tokens"]), find_places(model, ["grouping", "position"])
        head = find_places(model, ["head"])
        super().__init__(config, model, places=[*others, *blocks, *head])
        self.prefix, C = prefix_tokens(model), token_width(model, blocks[0])
        self.head = widened(model, head[0], more=C, trained=self.trained_parameters)
        self.net = ShapeNet(config.shape_groups)
        self.shape = nn.Sequential(
            nn.Linear(COARSE * config.shape_groups[1], 16),
            nn.GELU(),
            nn.Dropout(config.shape_dropout),
            nn.Linear(16, C),
        )
        self.points = nn.Parameter(nn.init.uniform_(torch.empty(1, config.points, 3), -0.01, 0.01))
        self.prompts = nn.Parameter(torch.zeros((len(blocks) + 1) // 2, config.prompts, C))
        self.coordinates = nn.Parameter(nn.init.uniform_(torch.empty(config.prompts, 3), -1, 1))
        self.behind = nn.ModuleList([BehindBlock(C, config.m) for _ in blocks])
        self.to(model.get_parameter(self.head.weight))

    def own_copy(self, name: str, original: Tensor) -> Tensor:
        """Return the head's first map C inputs wider, and other tensors as they are."""
        return self.head.own_copy(name, original)

    def before(self, place: Place, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Move points before they are grouped, put prompts into the first blocks, give the head F to read."""
        x: Tensor = inputs[0]
        if place.role == "grouping":
            return self._moved(x), *inputs[1:]
        if place.role == "head":
            return self.head.join(x, self.seen.pop("shape"), at=self.head.reads), *inputs[1:]
        if place.role == "tokens" and place.index < len(self.prompts):
            prompts = F.dropout(self.prompts[place.index], self.config.prompt_dropout, self.training)
            prompts = prompts + self.seen["position"] + 0.5 * self.seen["shape"][:, None]
            return put_in(x, prompts, behind=self.prefix), *inputs[1:]
        return inputs

    def after(self, place: Place, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        """Group the centres where they get their position; pass tokens along behind a block, and leave prompts out."""
        if place.role == "position":
            self.seen["position"] = module.forward(self.coordinates)
            self.seen["scene"] = make_scene(inputs[0], self.config.groups, self.config.group_size)
        if place.role != "tokens":
            return output
        prompted = place.index < len(self.prompts)
        prompts = self.config.prompts if prompted else 0
        tokens, patches = output[:, self.prefix :], output[:, self.prefix + prompts :]
        scene = self.seen.pop("scene") if place.last else self.seen["scene"]
        if prompts:
            first = prompts if self.config.neighbours == "patches" else 0
            scene = scene.shifted(by=0 if self.config.neighbours == "leaky" else prompts, first=first)
        shape = 0.5 * self.seen["shape"][:, None] if prompted else None
        return torch.cat([output[:, : self.prefix], self.behind[place.index](tokens, patches, scene, shape)], dim=1)

    def _moved(self, points: Tensor) -> Tensor:
        """Return clouds (B, N, 3) with their points moved and the free ones behind; remember F."""
        fine = self.config.shape_groups[0]
        if points.shape[1] < fine:
            raise PccloraError(
                f"gaprompt: a cloud of {points.shape[1]} points cannot be cut into {fine} groups; lower "
                f"adapter.shape_groups"
            )
        o, coarse = self.net(points)
        self.seen["shape"] = self.shape(coarse)
        moved = points + 0.8 * o * points
        return torch.cat([moved, (5 * self.points).to(moved).expand(points.shape[0], -1, -1)], dim=1)


def fourier(points: Tensor) -> Tensor:
    """Return points (B, N, 3) with sine and cosine of 1, 2, 4 and 8 times them (B, N, 27)."""
    waves = [wave(2**k * points) for k in range(4) for wave in (torch.sin, torch.cos)]
    return torch.cat([points, *waves], dim=-1)


@torch.no_grad()
def make_scene(centers: Tensor, groups: int, size: int) -> Scene:
    """Return the groups of centres (B, G, 3), with rows of a table that has G for each cloud."""
    G = centers.shape[1]
    own, index = sample_farthest_points(centers, K=min(groups, G))
    near = knn_points(own, centers, K=min(size, G)).idx
    weights = 1 / ((centers[:, :, None] - own[:, None]).square().sum(-1) + 1e-8)
    scene = Scene(index, near, weights / weights.sum(-1, keepdim=True))
    return scene.shifted(by=G, first=0)


def _abstract(points: Tensor, features: Tensor, layers: nn.Module, *, groups: int, size: int) -> tuple[Tensor, Tensor]:
    """Return centres (B, groups, 3) of points (B, N, 3), and the max of each one's neighbours' features, mapped."""
    with torch.no_grad():
        centers, _ = sample_farthest_points(points, K=groups)
        near = knn_points(centers, points, K=min(size, points.shape[1])).idx
    return centers, layers(gather(features, near)).amax(dim=2)

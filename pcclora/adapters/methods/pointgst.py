"""``pointgst``: a bottleneck beside the MLP that also works in the spectrum of the cloud's own graph.

Liang et al., Parameter-Efficient Fine-Tuning in Spectral Domain for Point Cloud Learning (arXiv 2410.08114). The G
centres of a cloud are a graph with edges a_ij = 1 / (D_ij / D_min + [i = j]); U has as rows the eigenvectors of its
normalised Laplacian, by ascending eigenvalue. A second family of graphs joins runs of ``local`` centres in z-order.
With u the tokens behind the attention, before the norm, in a bottleneck of width r:

    h = u A + b,   g = SiLU(h),   hp: rows of h that are groups
    spectrum(U, N) = U^T f,   f = U hp + SiLU(N(U hp) R + r0)
    y = block(x) + ((g + spectrum(U, N1) + spectrum(U_local, N2)) C + c)         N1, N2 layer norms, R shared by both

From the paper: all of it, r = 36, local = 32, and the start (A Xavier; R, C and all biases zero), which is the base's.
Ours, where released code cannot be made again: distances are exact and D_min is each graph's own, the released minimum
is that of the whole batch and of rounding noise; eigenvectors are computed in float64 with 1e-9 i added to the
diagonal, which splits ties, and have their largest entry positive; equal centres count as D_min apart. In part
segmentation the branch is the same; a segmenter without a class token has groups alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.adapters.base import About, Adapter, AdapterConfig
from pcclora.adapters.places import Place, find_places, prefix_tokens, token_width
from pcclora.errors import PccloraError
from pcclora.ops import argsort, gather
from pcclora.registry import ADAPTERS


@dataclass
class PointGSTConfig(AdapterConfig):
    """Settings of PointGST.

    Attributes:
        r: Width of the bottleneck.
        local: Centres of a local graph; it divides the number of groups.
    """

    shown: ClassVar[tuple[str, ...]] = ("r", "local")
    about: ClassVar[About | None] = About(
        "block(u) + (SiLU(u A) + U^T f(U u A) + local) C, U of the graph of the centres",
        "PointGST (2410.08114)",
        "exact distances, each graph's own least distance, eigenvectors in float64: released bases are rounding "
        "noise, and depend on the batch",
    )

    r: int = 36
    local: int = 32

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        if self.r < 1 or self.local < 2:
            raise PccloraError(f"r is {self.r}, at least 1; local is {self.local}, at least 2")


class SpectralBottleneck(nn.Module):
    """The branch of one block.

    Args:
        C: Width of a token.
        r: Of the bottleneck.
        prefix: Tokens that are no groups.
    """

    def __init__(self, C: int, r: int, prefix: int) -> None:
        super().__init__()
        self.prefix = prefix
        self.down, self.spectral, self.up = nn.Linear(C, r), nn.Linear(r, r), nn.Linear(r, C)
        self.norm1, self.norm2 = nn.LayerNorm(r), nn.LayerNorm(r)
        nn.init.xavier_uniform_(self.down.weight)
        for tensor in (self.down.bias, *self.spectral.parameters(), *self.up.parameters()):
            nn.init.zeros_(tensor)

    def forward(self, u: Tensor, graphs: "Graphs") -> Tensor:
        """Map tokens u (B, T, C) to what is added to the block's output.

        Args:
            u: Prefix and groups.
            graphs: Of the groups' centres.
        """
        h = self.down(u)
        of_groups = h[:, self.prefix :]
        ordered = gather(of_groups, graphs.order)
        runs = ordered.view(*graphs.near.shape[:3], -1)  # (B, G / local, local, r)
        near = self._filter(runs, graphs.near, self.norm2).flatten(1, 2)
        back = argsort(graphs.order)
        spectral = self._filter(of_groups, graphs.whole, self.norm1) + gather(near, back)
        g = F.silu(h)
        return self.up(torch.cat([g[:, : self.prefix], g[:, self.prefix :] + spectral], dim=1))  # type: ignore[no-any-return]

    def _filter(self, x: Tensor, U: Tensor, norm: nn.Module) -> Tensor:
        f = U @ x
        f = f + F.silu(self.spectral(norm(f)))
        return U.transpose(-1, -2) @ f


@dataclass(frozen=True)
class Graphs:
    """The spectra of one batch of clouds.

    Attributes:
        whole: (B, G, G), rows are eigenvectors.
        near: (B, G / local, local, local), of the runs of centres in z-order.
        order: (B, G) int64, which sorts the centres by z-order.
    """

    whole: Tensor
    near: Tensor
    order: Tensor


@ADAPTERS.register("pointgst", config=PointGSTConfig)
class PointGST(Adapter):
    """PointGST on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the model gives its centres no position, or its blocks have no MLP that all tokens pass
        through.
    """

    config: PointGSTConfig
    released_mark = r".*\.gft_adapter\."
    released_names: ClassVar[Mapping[str, str | None]] = {
        rf"(?:blocks\.)?blocks\.(\d+)\.gft_adapter\.{theirs}\.(.*)": rf"branches.\1.{ours}.\2"
        for theirs, ours in (
            ("down", "down"),
            ("norm_ly1", "norm1"),
            ("norm_ly2", "norm2"),
            ("adapt1", "spectral"),
            ("up", "up"),
        )
    }

    def __init__(self, config: PointGSTConfig, model: nn.Module) -> None:
        places, blocks = find_places(model, ["position", "mlp_norm"]), find_places(model, ["block"])
        super().__init__(config, model, places=[*places, *blocks])
        like = next(model.get_submodule(blocks[0].module).parameters())
        C, prefix = token_width(model, blocks[0]), prefix_tokens(model)
        self.branches = nn.ModuleList([SpectralBottleneck(C, config.r, prefix) for _ in blocks]).to(like)

    def before(self, place: Place, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Compute the graphs of a batch where its centres get their position; remember what the MLP's norm reads."""
        if place.role == "position":
            self.seen["graphs"] = make_graphs(inputs[0], self.config.local)
        elif place.role == "mlp_norm":
            self.seen["tokens"] = inputs[0]
        return inputs

    def after(self, place: Place, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        """Add the branch to what the block gives."""
        if place.role != "block":
            return output
        graphs = self.seen.pop("graphs") if place.last else self.seen["graphs"]
        return output + self.branches[place.index](self.seen.pop("tokens"), graphs)


@torch.no_grad()
def make_graphs(centers: Tensor, local: int) -> Graphs:
    """Return the spectra of clouds' centres (B, G, 3): of all of them, and of runs of ``local`` in z-order.

    Raises:
        PccloraError: If ``local`` does not divide G.
    """
    G = centers.shape[1]
    if G % local:
        raise PccloraError(
            f"pointgst: {G} groups cannot be cut into runs of {local}; choose adapter.local to divide them"
        )
    order = argsort(z_order(centers))
    runs = gather(centers, order).view(centers.shape[0], -1, local, 3)
    return Graphs(spectrum(centers), spectrum(runs), order)


def spectrum(points: Tensor) -> Tensor:
    """Return the eigenvectors of a graph on points (..., n, 3) as rows (..., n, n), by ascending eigenvalue."""
    exact = points.double()
    D = (exact[..., :, None, :] - exact[..., None, :, :]).square().sum(-1).sqrt()
    least = D.masked_fill(D == 0, torch.inf).amin(dim=(-1, -2), keepdim=True)
    least = least.masked_fill(least.isinf(), 1.0)  # all points are equal
    n = points.shape[-2]
    eye = torch.eye(n, dtype=D.dtype, device=D.device)
    edges = 1 / (D.maximum(least * (1 - eye)) / least + eye)
    scale = (edges.sum(-1) + 1e-6).rsqrt()
    laplacian = eye - scale[..., :, None] * edges * scale[..., None, :]
    laplacian = laplacian + torch.diag(1e-9 * torch.arange(n, dtype=D.dtype, device=D.device))
    vectors = torch.linalg.eigh(laplacian).eigenvectors.transpose(-1, -2)
    largest = vectors.abs().argmax(dim=-1, keepdim=True)
    signed: Tensor = vectors * vectors.gather(-1, largest).sign()
    return signed.to(points.dtype)


def z_order(points: Tensor) -> Tensor:
    """Return the z-order key (..., n) int64 of points (..., n, 3): of hundredths, 16 bits of y, x and z in turn."""
    cells = (points * 100).trunc().long() & 0xFFFF
    x, y, z = cells.unbind(-1)
    key = torch.zeros_like(x)
    for bit in range(16):
        for place, axis in enumerate((z, x, y)):
            key = key | (((axis >> bit) & 1) << (3 * bit + place))
    return key

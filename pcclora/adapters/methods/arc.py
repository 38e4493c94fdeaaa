"""``arc``: in front of attention and MLP, a symmetric low-rank map whose bases all blocks share.

Dong et al., Efficient Adaptation of Large Vision Transformer via Adapter Re-Composing (arXiv 2310.06234):

    x' = x + drop((x D) * rho) D^T + beta          D (C, k), rho (k), beta (C)

in front of qkv and of the first map of the MLP. D is one for all qkv and one for all first maps; rho and beta are each
map's own. It merges into the map: W' = (I + D diag(rho) D^T) W, b' = b + beta W.

From the paper: the places, the shared bases, k = 50, D Xavier-uniform, rho zero in front of attention and
Xavier-uniform in front of the MLP (``init="paper"``). Ours: rho zero everywhere, so that the start is the base's
(``init="zero"``, the default). CLoRA's nearest relative: the same place, one symmetric pair of bases, diagonal cores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.adapters.base import About, AdapterConfig
from pcclora.adapters.in_front import InFrontAdapter
from pcclora.errors import PccloraError
from pcclora.registry import ADAPTERS


@dataclass
class ARCConfig(AdapterConfig):
    """Settings of ARC.

    Attributes:
        k: Width of the bases.
        dropout: Of what the branch adds, in training.
        init: ``zero`` starts at the base; ``paper`` does so in attention only.
        target_modules: Patterns of whole linear maps; None takes every ``qkv`` and every first map of an MLP. Maps of
            one name (``qkv``, ``fc1``) share their bases.
    """

    shown: ClassVar[tuple[str, ...]] = ("k", "init")
    about: ClassVar[About | None] = About(
        "x + x D diag(rho) D^T + beta in front of a map, D shared by all blocks",
        "ARC (2310.06234)",
        "starts at the base unless told otherwise; in one released script only the head trains",
    )

    k: int = 50
    dropout: float = 0.0
    init: Literal["zero", "paper"] = "zero"
    target_modules: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        if self.k < 1 or not 0 <= self.dropout < 1 or self.init not in ("zero", "paper"):
            raise PccloraError(
                f"k is {self.k}, at least 1; dropout is {self.dropout}, in [0, 1); init is '{self.init}', zero or paper"
            )


@ADAPTERS.register("arc", config=ARCConfig)
class ARC(InFrontAdapter):
    """ARC on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the targets cannot be found, or are slices.
    """

    config: ARCConfig

    def __init__(self, config: ARCConfig, model: nn.Module) -> None:
        super().__init__(config, model)
        self.starts_at_base = config.init == "zero"
        self.bases, self.scales, self.shifts = nn.ParameterDict(), nn.ParameterDict(), nn.ParameterDict()
        for kind, modules in self.kinds.items():
            self._add(kind, modules, model.get_parameter(f"{modules[0]}.weight"))

    def _add(self, kind: str, modules: Sequence[str], weight: Tensor) -> None:
        C, k, m = weight.shape[1], self.config.k, len(modules)
        self.bases[kind] = nn.Parameter(nn.init.xavier_uniform_(torch.empty(C, k)).to(weight))
        scales = torch.zeros(m, k)
        if self.config.init == "paper" and not kind.startswith(("q", "k", "v")):
            for row in scales:
                nn.init.xavier_uniform_(row[None])
        self.scales[kind] = nn.Parameter(scales.to(weight))
        self.shifts[kind] = nn.Parameter(torch.zeros(m, C).to(weight))

    def added(self, module: str, x: Tensor) -> Tensor:
        """Return drop((x D) * rho) D^T + beta."""
        kind, place = self.own[module]
        D, scale = self.bases[kind], self.scales[kind][place]
        added = F.dropout((x @ (D * scale)) @ D.T, self.config.dropout, self.training)
        return torch.add(added, self.shifts[kind][place])

    def affine(self, module: str) -> tuple[Tensor, Tensor, Tensor]:
        """Return D diag(rho), D^T and beta."""
        kind, place = self.own[module]
        D = self.bases[kind]
        return D * self.scales[kind][place], D.T, self.shifts[kind][place]

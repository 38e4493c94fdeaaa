"""``adapter`` and ``houlsby``: a bottleneck behind the MLP of every block, or behind the attention too.

Houlsby et al., Parameter-Efficient Transfer Learning for NLP (arXiv 1902.00751):

    a(z) = z + Q(z A + b1) C + b2          A (C, m), C (m, C)
    y = u + a(MLP(N2(u)))

and for ``houlsby`` u = x + a'(Attn(N1(x))) as well. Q is QuickGELU, z sigmoid(1.702 z).

``adapter``, behind the MLP alone, is the row "Adapter" of VTAB-1K tables (Zhang et al., NOAH, arXiv 2206.04673). From
NOAH: the place, QuickGELU, and its start, A and C Xavier-uniform and biases from a normal of std 1e-6, which is far
from the base (``init="xavier"``). From Houlsby et al.: both places, and A and C from a normal of std 0.01 cut at two
deviations (``init="houlsby"``), near the base. Ours: C and biases zero, so that the start is the base's
(``init="zero"``, the default); with A zero too, as in one released version, nothing would ever train. And stochastic
depth of the model drops MLP and adapter together, while in NOAH it drops the MLP and lets a(0) pass.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import nn

from pcclora.adapters.base import About, Adapter, AdapterConfig
from pcclora.adapters.branches import Bottlenecks, quick_gelu, small_normal, xavier, zero
from pcclora.adapters.places import Place, find_places, token_width
from pcclora.errors import PccloraError
from pcclora.registry import ADAPTERS

STARTS = {"zero": (xavier, zero), "xavier": (xavier, xavier), "houlsby": (small_normal, small_normal)}


@dataclass
class SequentialAdapterConfig(AdapterConfig):
    """Settings of the adapter behind the MLP.

    Attributes:
        m: Width of the bottleneck.
        init: ``zero`` starts at the base; ``xavier`` as the row of VTAB-1K tables; ``houlsby`` near the base.
    """

    shown: ClassVar[tuple[str, ...]] = ("m", "init")
    about: ClassVar[About | None] = About(
        "z + Q(z A + b) C + c behind the MLP, Q QuickGELU",
        "Adapter, the row of VTAB-1K tables (2206.04673)",
        "starts at the base unless told otherwise",
    )

    m: int = 8
    init: Literal["zero", "xavier", "houlsby"] = "zero"

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        if self.m < 1 or self.init not in STARTS:
            raise PccloraError(f"m is {self.m}, at least 1; init is '{self.init}', one of {', '.join(STARTS)}")


@dataclass
class HoulsbyConfig(SequentialAdapterConfig):
    """Settings of the adapters behind attention and MLP: those of ``adapter``."""

    about: ClassVar[About | None] = About(
        "z + Q(z A + b) C + c behind attention and MLP, Q QuickGELU",
        "Houlsby et al. (1902.00751)",
        "starts at the base unless told otherwise",
    )


@ADAPTERS.register("adapter", config=SequentialAdapterConfig)
class SequentialAdapter(Adapter):
    """The adapter behind the MLP on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If the model does not say where its MLPs are, or m is above the width of its tokens.
    """

    roles: ClassVar[tuple[str, ...]] = ("mlp",)

    def __init__(self, config: SequentialAdapterConfig, model: nn.Module) -> None:
        places = find_places(model, self.roles)
        super().__init__(config, model, places=places)
        self.starts_at_base = config.init == "zero"
        block = find_places(model, ["block"])[0]
        like = next(model.get_submodule(block.module).parameters())
        down, up = STARTS[config.init]
        self.bottlenecks = nn.ModuleDict()
        for role in self.roles:
            count = sum(place.role == role for place in places)
            stack = Bottlenecks(count, token_width(model, block), config.m, act=quick_gelu, down=down, up=up)
            if config.init == "xavier":
                for bias in (stack.down_bias, stack.up_bias):
                    nn.init.normal_(bias, std=1e-6)  # type: ignore[arg-type]  # there are biases
            self.bottlenecks[role] = stack.to(like)

    def after(self, place: Place, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        """Return a(z) of what a sub-layer gives (B, T, C)."""
        return output + self.bottlenecks[place.role](output, place.index)


@ADAPTERS.register("houlsby", config=HoulsbyConfig)
class Houlsby(SequentialAdapter):
    """The adapters behind attention and MLP on one model."""

    roles = ("attention", "mlp")

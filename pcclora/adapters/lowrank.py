"""What methods that add low-rank products to linear maps share: targets grouped by shape, the sum, the merge.

All targets of one shape (d_in, d_out) form a group, and a group keeps one stacked tensor for each factor. The targets
of one module stand side by side in it, so the slices of a fused map, which read the same input, are computed together.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.adapters.base import Adapter
from pcclora.adapters.targets import Target
from pcclora.errors import PccloraError


@dataclass(frozen=True)
class Share:
    """The targets of one module in one group.

    Attributes:
        group: The group's name, ``384x384``.
        members: Their places in the group.
        rows: Their rows of the module's weight.
    """

    group: str
    members: slice
    rows: tuple[slice, ...]

    def spans(self, d_out: int) -> bool:
        """Tell whether the rows, in their order, are all rows of a map with ``d_out`` outputs."""
        edges = [0, *(rows.stop for rows in self.rows)]
        return edges[-1] == d_out and all(a == rows.start for a, rows in zip(edges, self.rows, strict=False))

    def add(self, y: Tensor, update: Tensor) -> Tensor:
        """Add the members' updates (..., n * d_out), side by side, to their rows of y (..., d_out of the module)."""
        if self.spans(y.shape[-1]):
            return y + update
        for rows, part in zip(self.rows, update.chunk(len(self.rows), dim=-1), strict=True):
            y[..., rows] += part
        return y


class LowRankAdapter(Adapter):
    """A method whose factors are stacked in ``groups``, one module for each shape of its targets.

    A method of this kind is its group: a module that maps ``(x (..., d_in), members)`` to the targets' updates side by
    side (..., n * d_out), and has ``delta(members)``, the same as matrices (n, d_out, d_in).

    Args:
        config: The method's settings.
        model: What is adapted.
        targets: The linear maps that it acts on.
        others: What else :class:`Adapter` takes.
    """

    def __init__(self, config: Any, model: nn.Module, *, targets: Iterable[Target], **others: Any) -> None:
        super().__init__(config, model, targets=tuple(targets), **others)
        members: dict[str, list[Target]] = {}
        for target in self.targets:
            members.setdefault(self.group_of(target), []).append(target)
        self.shares: dict[str, list[Share]] = {}
        for group, inside in members.items():
            for module in dict.fromkeys(target.module for target in inside):
                places = [i for i, target in enumerate(inside) if target.module == module]
                rows = tuple(slice(inside[i].start, inside[i].stop) for i in places)
                self.shares.setdefault(module, []).append(Share(group, slice(places[0], places[-1] + 1), rows))
        self.groups = nn.ModuleDict()
        for group, inside in members.items():
            weights = [model.get_parameter(f"{t.module}.weight").detach()[t.start : t.stop] for t in inside]
            self.groups[group] = self.make_group(inside, weights).to(weights[0])

    def width(self, target: Target) -> int:
        """Return the width of a target's update."""
        return target.d_out

    @property
    def peft_names(self) -> Mapping[str, str]:
        """What Hugging Face peft calls the tensors of a group, for one whole map; empty if it has no such method."""
        return {}

    @property
    def peft_settings(self) -> dict[str, Any]:
        """The settings in peft's words that make of its LoRA what this method is."""
        return {}

    def group_of(self, target: Target) -> str:
        """Return the name of a target's group: that of its shape, and what else a method tells groups by."""
        return f"{target.d_in}x{self.width(target)}"

    def make_group(self, targets: Sequence[Target], weights: Sequence[Tensor]) -> nn.Module:
        """Return the factors of all targets of one shape.

        Args:
            targets: Of one shape, the slices of one module side by side.
            weights: The frozen weight (d_out, d_in) of each, for methods that start from it.
        """
        raise NotImplementedError

    def linear(self, module: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute x W + b, and add the updates to the targets' rows."""
        y = F.linear(x, weight, bias)
        for share in self.shares[module]:
            y = share.add(y, self.update(x, share))
        return y

    def merged(self, module: str, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return W with the updates added to the targets' rows, and the bias as it is."""
        merged = weight.clone()
        for share in self.shares[module]:
            for rows, delta in zip(share.rows, self.deltas(share), strict=True):
                merged[rows] += delta
        return merged, bias

    def update(self, x: Tensor, share: Share) -> Tensor:
        """Map x (..., d_in) to the updates of a module's targets of one shape, side by side (..., n * d_out)."""
        update: Tensor = self.groups[share.group](x, share.members)
        return update

    def deltas(self, share: Share) -> Tensor:
        """Return the updates of a module's targets of one shape, (n, d_out, d_in)."""
        delta: Tensor = cast("Any", self.groups[share.group]).delta(share.members)
        return delta

    def lora_form(self, module: str, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the method does to one linear map as plain LoRA: its factors, all slices together.

        Args:
            module: The map's name.
            weight: Its frozen weight (d_out, d_in).

        Returns:
            A (R, d_in) and B (d_out, R): the update is x A^T B^T * lora_alpha(R) / R, or / sqrt(R) where the config's
            ``use_rslora`` is set.

        Raises:
            PccloraError: If no plain LoRA does the same.
        """
        raise PccloraError(
            f"{type(self).__name__} cannot be written as plain LoRA; use save_adapter, or merge it and save the weights"
        )

    def lora_alpha(self, rank: int, module: str) -> float:
        """Return what to divide by the rank R of :meth:`lora_form`'s factors, or its root, to get their scale."""
        raise NotImplementedError

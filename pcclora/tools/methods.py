"""List the adaptation methods: what each computes, where it acts, what it trains and costs.

pcclora methods                          all of them, on the sizes that papers use
pcclora methods --model point_mae_tiny   on a model of yours
pcclora methods --markdown               the table of docs/methods.md
"""

import copy
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import pcclora
from pcclora.adapters import About, Adapter
from pcclora.adapters.base import tensors_inside
from pcclora.engine import console
from pcclora.errors import PccloraError
from pcclora.models.backbone import Backbone
from pcclora.registry import ADAPTERS
from pcclora.studies.tables import Table
from pcclora.tools.shared.parser import Parser

SIZES = {"ViT-B/16": ("timm/vit_base_patch16_224", 0), "Point-MAE": ("point_mae", 128)}
"""Heading -> model and its groups: what the tables of papers are about."""
CLASSES, POINTS = 15, 2048


@dataclass(frozen=True)
class Fit:
    """A method on a model.

    Attributes:
        sits: The maps and roles that it acts at.
        merges: Whether the weights can take it up.
        own: Numbers that train beside what trains in a linear probe: head and class token.
        trained: All numbers that train.
        gmacs: Of one input, un-merged, as papers count.
    """

    sits: tuple[str, ...]
    merges: bool
    own: int
    trained: int
    gmacs: float


def main() -> None:
    """Parse and print."""
    parser = Parser(__doc__)
    parser.add_argument("--model", metavar="NAME", help="a model of pcclora.list_models(), in place of both")
    parser.add_argument("--markdown", action="store_true", help="print the table of docs/methods.md")
    arguments = parser.parse_args()
    sizes = SIZES if arguments.model is None else {arguments.model: (arguments.model, 0)}
    fits = {heading: dict(_fits(*size)) for heading, size in sizes.items()}
    console.write(_table(fits).markdown() if arguments.markdown else _listing(fits))


def _fits(name: str, num_groups: int) -> Iterator[tuple[str, Fit | str]]:
    """Yield every method and how it fits a model, or why it does not."""
    sizes: dict[str, Any] = {"num_groups": num_groups} if num_groups else {}
    model = pcclora.create_model(name, num_classes=CLASSES, **sizes)
    side: Any = getattr(getattr(model, "patch_embed", None), "img_size", None)
    x = torch.empty(1, *((POINTS, 3) if side is None else (3, *side)), device="meta")
    for method in pcclora.list_adapters():
        yield method, _fit(model, method, x)


def _fit(model: Backbone, method: str, x: Tensor) -> Fit | str:
    try:
        adapter = pcclora.attach(model, pcclora.adapter_config(method))
    except PccloraError as error:
        return str(error)
    counted = copy.deepcopy(model).to("meta")  # where operations are counted and none is carried out
    pcclora.detach(model)
    trained = {name for name, parameter in counted.named_parameters() if parameter.requires_grad}
    probe = trained.intersection(tensors_inside(counted, model.modules_to_save)[0])
    return Fit(
        sits=_sits(adapter),
        merges=adapter.mergeable and bool(adapter.merges_into or not any(True for _ in adapter.parameters())),
        own=_numbers(counted, trained - probe),
        trained=_numbers(counted, trained),
        gmacs=pcclora.count_macs(counted, x).literature / 1e9,
    )


def _sits(adapter: Adapter) -> tuple[str, ...]:
    maps = dict.fromkeys(target.module.rpartition(".")[2] for target in adapter.targets)
    roles = dict.fromkeys(place.role for places in adapter.places_at.values() for place in places)
    return (*maps, *roles)


def _numbers(model: nn.Module, names: set[str]) -> int:
    return sum(parameter.numel() for name, parameter in model.named_parameters() if name in names)


def _about(method: str) -> About:
    config = ADAPTERS.get(method).config
    return getattr(config, "about", None) or About((config.__doc__ or "").partition("\n")[0], "")


def _table(fits: dict[str, dict[str, Fit | str]]) -> Table:
    """Return all methods as one table."""
    costs = [f"{what}, {size}" for size in fits for what in ("trains", "GMACs")]
    table = Table(["method", "computes", "acts at", "merges", *costs, "paper", "ours"])
    for method in pcclora.list_adapters():
        about, own = _about(method), [fit[method] for fit in fits.values()]
        first = next((fit for fit in own if isinstance(fit, Fit)), None)
        sits = ", ".join(f"`{name}`" for name in first.sits) if first is not None else ""
        numbers = [cell for fit in own for cell in _cells(fit)]
        merges = "yes" if first is not None and first.merges else "no"
        formula = about.formula.replace("|", r"\|")
        table.rows.append([f"`{method}`", formula, sits, merges, *numbers, about.paper, about.ours])
    return table


def _cells(fit: Fit | str) -> tuple[str, str]:
    return ("", "") if isinstance(fit, str) else (f"{fit.own:,d}", f"{fit.gmacs:.2f}")


def _listing(fits: dict[str, dict[str, Fit | str]]) -> str:
    """Return the methods for a console of 80 columns."""
    page = textwrap.TextWrapper(80, initial_indent=" " * 2, subsequent_indent=" " * 4, break_on_hyphens=False)
    lines: list[str] = []
    for method in pcclora.list_adapters():
        about = _about(method)
        lines.append(f"{method}  {about.paper}".rstrip())
        lines += page.wrap(about.formula)
        for size, found in fits.items():
            fit = found[method]
            lines += page.wrap(f"{size}: {_sentence(fit)}")
    return "\n".join(lines) + "\n"


def _sentence(fit: Fit | str) -> str:
    if isinstance(fit, str):
        return fit
    merges = "merges" if fit.merges else "does not merge"
    return f"at {', '.join(fit.sits) or 'no module'}; trains {fit.own:,d}, with the head {fit.trained:,d}; {merges}"

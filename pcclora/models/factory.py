"""``create_model`` and ``list_models``: every backbone by name (after timm's calls of the same names)."""

from pathlib import Path
from typing import Any

from pcclora.config import from_dict
from pcclora.errors import PccloraError
from pcclora.models.backbone import Backbone
from pcclora.models.load import load_checkpoint, weights_file
from pcclora.registry import MODELS


def create_model(
    name: str,
    *,
    task: str = "cls",
    num_classes: int = 40,
    num_parts: int = 50,
    num_categories: int = 16,
    channels: int = 0,
    checkpoint: str | Path | None = None,
    pretrained: bool = False,
    **overrides: Any,  # fields of the model's config dataclass, each checked against its annotation
) -> Backbone:
    """Build a backbone.

    Args:
        name: A registered name; see :func:`list_models`.
        task: ``cls``: ``model(points (B, N, 3)) -> logits (B, num_classes)``, of images (B, 3, S, S) likewise;
            ``pretrain``: ``model(points, mask) -> loss``; ``partseg``: ``model(points, category (B,), query=None) ->
            logits (B, N, num_parts)``.
        num_classes: Number of classes of a classifier.
        num_parts: Number of parts of a part segmenter, of all categories together; ShapeNetPart has 50.
        num_categories: Number of categories of a part segmenter; ShapeNetPart has 16.
        channels: Numbers of a point beside its place, as 3 for colours: clouds are (B, N, 3 + channels) then. A small
            branch reads them; it starts at zero, and an adapter trains it beside the head.
        checkpoint: A file for :func:`load_checkpoint`, ``"bundled"`` for the weights that come with the package, or
            ``"pretrained"`` for timm's own weights of a ``timm/...`` model.
        pretrained: The same as ``checkpoint="bundled"``, and of a ``timm/...`` model as ``checkpoint="pretrained"``.
        overrides: Fields of the model's config, as ``num_groups=128``.

    Returns:
        The model, in train mode.

    Raises:
        PccloraError: If a name is unknown (the message has the nearest one), a value or the checkpoint cannot be used.

    Examples:
        >>> import torch, pcclora
        >>> model = pcclora.create_model("point_mae_tiny", num_classes=16, pretrained=True)
        >>> model.eval()(torch.rand(2, 1024, 3)).shape
        torch.Size([2, 16])
    """
    own = "pretrained" if name.startswith("timm/") else "bundled"
    if pretrained and checkpoint not in (None, own):
        raise PccloraError(f"pretrained=True and checkpoint={str(checkpoint)!r}: give one of them")
    config = _configure(name, overrides)
    model: Backbone = MODELS.build(
        config,
        task=task,
        num_classes=num_classes,
        num_parts=num_parts,
        num_categories=num_categories,
        channels=channels,
    )
    file = weights_file(config, own if pretrained else checkpoint or "none")
    if file is not None:
        load_checkpoint(model, file)
    return model


def list_models(pattern: str = "*") -> list[str]:
    """Return the registered names that match a shell pattern, sorted.

    Args:
        pattern: As ``"point_*"``. Architectures of timm are listed where it begins with ``timm/``, as ``"timm/vit_*"``:
            those of the families that were tried with adapters.

    Examples:
        >>> import pcclora
        >>> pcclora.list_models("point_*")
        ['point_bert', 'point_mae', 'point_mae_tiny']
    """
    return MODELS.names(pattern)


def _configure(name: str, overrides: dict[str, Any]) -> object:
    entry = MODELS.get(name)
    if not overrides:
        return entry.config(**entry.preset)
    return from_dict(entry.config, overrides | entry.preset, source=f"model '{name}'")

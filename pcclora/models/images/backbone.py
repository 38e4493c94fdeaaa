"""Vision transformers of timm as backbones: ``timm/<architecture>``, and ``vit_mini``, small enough for a CPU.

Dosovitskiy et al., ViT (arXiv 2010.11929); Touvron et al., DeiT (arXiv 2012.12877); Oquab et al., DINOv2 (arXiv
2304.07193). A model is timm's own object: its forward and its parameter names are timm's, so an adapter that is saved
here loads on a bare ``timm.create_model``. It only becomes a :class:`Backbone` beside.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pcclora.errors import PccloraError
from pcclora.models.backbone import Backbone, Classifier
from pcclora.models.images.configs import TimmConfig, VitMiniConfig
from pcclora.models.images.from_timm import import_timm, timm_architectures, timm_cfg
from pcclora.models.images.mae import ImageMAE
from pcclora.models.register import register_model
from pcclora.registry import MODELS

ATTENTION = (("qkv",), ("q", "k", "v"), ("q_proj", "k_proj", "v_proj"), ("query", "key", "value"))


class ImageBackbone(Classifier):
    """What a timm model has beside its own: images (B, 3, S, S) to logits (B, num_classes), by way of features."""

    holds = "images"
    families: ClassVar[tuple[str, ...]] = ("timm",)
    parts: ClassVar[dict[str, tuple[str, ...]]] = {"tokenizer": ("patch_embed",), "head": ("head", "head_dist")}

    def features(self, samples: Tensor) -> Tensor:
        """Map images (B, 3, S, S) to what the head reads (B, F): for a distilled DeiT both tokens, F = 2 C."""
        model: Any = self
        tokens = model.forward_features(samples)
        if len(self.head_names) == 2:
            return torch.cat([tokens[:, 0], tokens[:, 1]], dim=-1)
        pooled: Tensor = model.forward_head(tokens, pre_logits=True)
        return pooled

    def classify(self, features: Tensor) -> Tensor:
        """Map features (B, F) to logits (B, num_classes); two heads are averaged, as in timm."""
        heads = [self.get_submodule(name) for name in self.head_names]
        pieces = features.chunk(len(heads), dim=-1)
        logits: Tensor = sum(head(piece) for head, piece in zip(heads, pieces, strict=True)) / len(heads)
        return logits

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Be pickled and copied by timm's own class, for this one is made on the fly and cannot be found by name."""
        return _blank, (type(self).__bases__[1],), self.__dict__


def _build_timm(config: TimmConfig, *, num_classes: int) -> Backbone:
    timm_cfg(config.architecture)
    options = {key: value for key, value in asdict(config).items() if value is not None and key != "architecture"}
    create = import_timm().create_model
    return _backbone(lambda: create(config.architecture, num_classes=num_classes, **options), config)


def _build_mini(config: VitMiniConfig, *, num_classes: int) -> Backbone:
    vit = import_timm().models.VisionTransformer
    # the mean of the patches, as MAE's classifiers: its class token was trained for nothing
    pooling = {"global_pool": "avg", "fc_norm": False}
    return _backbone(lambda: vit(num_classes=num_classes, **pooling, **asdict(config)), config)


def _build_mae(build: Callable[..., Backbone], config: object) -> Backbone:
    return ImageMAE(config, build(config, num_classes=1))


def _backbone(create: Callable[[], Any], config: object) -> Backbone:
    name = MODELS.name_of(config)
    try:
        model = create()
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise PccloraError(f"model '{name}' cannot be built so: {str(error) or type(error).__name__}") from error
    last = {path.rpartition(".")[2] for path, module in model.named_modules() if isinstance(module, nn.Linear)}
    heads = _heads(model)
    if not any(last.issuperset(names) for names in ATTENTION) or not heads:
        raise PccloraError(
            f"model '{name}' ({type(model).__name__}) is no vision transformer that can be adapted: it lacks attention "
            "with linear maps qkv, or q, k and v, or one linear head; list_models('timm/*') has those that can"
        )
    model.__class__ = _backbone_class(model.__class__)
    model.config, model.head_names, model.modules_to_save = config, heads, heads
    model.places, model.prefix_tokens = _places(model, heads), getattr(model, "num_prefix_tokens", 0)
    return model  # type: ignore[no-any-return]


def _places(model: Any, heads: tuple[str, ...]) -> dict[str, str]:
    """Return the roles that a timm model's modules play: of plain ViTs and EVAs, whose blocks keep what is promised."""
    kinds = {type(block).__name__ for block in getattr(model, "blocks", ())}
    known = all(hasattr(model, name) for name in ("num_prefix_tokens", "patch_embed"))
    if not known or not kinds or not kinds <= {"Block", "EvaBlock"}:
        return {}
    places = {"block": "blocks.*", "attention_norm": "blocks.*.norm1", "mlp_norm": "blocks.*.norm2"}
    scaled = any(type(part).__name__ == "LayerScale" for block in model.blocks for part in block.children())
    if not scaled and all(getattr(block, "gamma_1", None) is None for block in model.blocks):
        places |= {"attention": "blocks.*.attn", "mlp": "blocks.*.mlp"}
    if getattr(model, "rope", None) is None:  # else attention counts on one token a patch
        places["tokens"] = "blocks.*"
    if isinstance(getattr(model.patch_embed, "proj", None), nn.Conv2d):
        places["patches"] = "patch_embed.proj"
    if not isinstance(model.norm, nn.Identity):
        places["norm"] = "norm"
    return places | ({"head": heads[0]} if len(heads) == 1 else {})


def _heads(model: Any) -> tuple[str, ...]:
    """Return the names of a timm model's linear classifiers: one, or of a distilled DeiT two."""
    found = model.get_classifier()
    heads = found if isinstance(found, tuple) else (found,)
    names = tuple(name for name, module in model.named_modules() if any(module is head for head in heads))
    whole = len(names) == len(heads) and all(isinstance(head, nn.Linear) for head in heads)
    if hasattr(model, "aux_head"):  # VOLO's second head, on the patches
        return ()
    return names if whole and (len(heads) == 1 or hasattr(model, "dist_token")) else ()


def _blank(kind: Any) -> Backbone:
    made = _backbone_class(kind)
    return made.__new__(made)


@cache
def _backbone_class(kind: type[nn.Module]) -> type[Backbone]:
    return type(kind.__name__, (ImageBackbone, kind), {"__module__": kind.__module__, "__doc__": kind.__doc__})


# any whose attention has its linear maps as modules; without weights
register_model(
    "timm",
    config=TimmConfig,
    heads={"cls": _build_timm, "pretrain": partial(_build_mae, _build_timm)},
    variant="architecture",
    variants=timm_architectures,
)
# for a CPU, timm's class; its pre-trained weights come with the package
register_model(
    "vit_mini", config=VitMiniConfig, heads={"cls": _build_mini, "pretrain": partial(_build_mae, _build_mini)}
)

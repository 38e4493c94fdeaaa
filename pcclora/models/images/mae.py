"""Masked autoencoding of images: hide 75 % of the patches, encode the rest, rebuild the hidden ones; squared error.

He et al., Masked Autoencoders Are Scalable Vision Learners (arXiv 2111.06377). The targets are the pixels of a patch,
normalised by its own mean and standard deviation. Parameters are called as in the released files of that paper, so
``model.safetensors`` of a pre-training run is a checkpoint for the classifier as it is.
"""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.errors import PccloraError
from pcclora.models.backbone import Backbone
from pcclora.models.images.from_timm import import_timm
from pcclora.models.points.masking import check_mask, random_mask, rows

MASK_RATIO = 0.75
DECODER_DEPTH = 2  # and half the encoder's width: light, as the paper's, for networks smaller than the paper's


class ImageMAE(Backbone):
    """Masked autoencoder around a plain ViT with a class token.

    Args:
        config: The ViT's config.
        vit: The ViT, from timm; its modules become this model's.

    Raises:
        PccloraError: If the ViT is none of timm's plain ones.
    """

    task, holds, criterion = "pretrain", "images", "squared error of normalised pixels"
    families: ClassVar[tuple[str, ...]] = ("timm",)
    modules_to_save = ()
    parts: ClassVar[dict[str, tuple[str, ...]]] = {"tokenizer": ("patch_embed",), "head": ("decoder_pred",)}

    def __init__(self, config: object, vit: Any) -> None:
        super().__init__()
        if type(vit).__name__ != "VisionTransformer" or vit.num_prefix_tokens != 1 or vit.no_embed_class:
            raise PccloraError(f"{type(vit).__name__}: masked autoencoding takes plain ViTs with a class token alone")
        block = import_timm().models.vision_transformer.Block
        dim, heads = vit.embed_dim, vit.blocks[0].attn.num_heads
        self.config, width = config, dim // 2
        self.patch_embed, self.cls_token, self.pos_embed = vit.patch_embed, vit.cls_token, vit.pos_embed
        self.blocks, self.norm = vit.blocks, vit.norm
        patches, side = vit.patch_embed.num_patches, vit.patch_embed.patch_size[0]
        self.patch_size = side
        self.decoder_embed = nn.Linear(dim, width)
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.decoder_pos_embed = nn.Parameter(0.02 * torch.randn(1, 1 + patches, width))
        self.decoder_blocks = nn.ModuleList(block(width, heads, qkv_bias=True) for _ in range(DECODER_DEPTH))
        self.decoder_norm = nn.LayerNorm(width)
        self.decoder_pred = nn.Linear(width, 3 * side**2)

    def forward(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar: 1 is a prediction of every patch by its mean.

        Args:
            images: (B, 3, S, S), normalised.
            mask: (B, T) bool over the T patches, True = hidden, the same number in each row; None draws one from
                torch's CPU generator.

        Raises:
            PccloraError: If the mask cannot be used.
        """
        x = self.patch_embed(images)  # (B, T, C)
        B, T, _ = x.shape
        mask = (random_mask(B, T, MASK_RATIO) if mask is None else check_mask(mask, (B, T))).to(x.device)
        x = rows(x + self.pos_embed[:, 1:], ~mask)
        x = torch.cat([(self.cls_token + self.pos_embed[:, :1]).expand(B, -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        x = self.decoder_embed(self.norm(x))
        full = self.mask_token.to(x.dtype).repeat(B, T, 1)
        full[~mask] = x[:, 1:].flatten(0, 1)
        x = torch.cat([x[:, :1], full], dim=1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        rebuilt = self.decoder_pred(self.decoder_norm(x[:, 1:])[mask])  # (hidden, 3 side^2)
        return F.mse_loss(rebuilt.to(images.dtype), _normalised(patchify(images, self.patch_size)[mask]))


def patchify(images: Tensor, side: int) -> Tensor:
    """Cut images (B, 3, S, S) into patches (B, T, 3 side^2), in the order in which a ViT embeds them."""
    return F.unfold(images, side, stride=side).transpose(1, 2)


def _normalised(patches: Tensor) -> Tensor:
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return (patches - mean) / (variance + 1e-6).sqrt()

"""Point-MAE's pre-training: hide 60 % of the groups, encode the rest, rebuild the hidden ones; Chamfer L2 loss.

Pang et al. (arXiv 2203.06604). With a given mask the loss equals the original's in eval mode. In train mode there is
one difference: only visible groups pass through the tokeniser (the original encodes all and throws 60 % away), so the
batch statistics of its BatchNorms are those of the visible groups.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from pcclora.models.backbone import Backbone
from pcclora.models.points.masking import check_mask, random_mask, rows
from pcclora.models.points.transformer import Decoder, token_parameter
from pcclora.models.points.trunk import PointMAEConfig, Trunk, position_embedding
from pcclora.ops import chamfer_distance


class PointMAEPretrain(Backbone):
    """Masked autoencoder around the trunk.

    Args:
        config: Its widths, the depth of the decoder, the mask ratio.
    """

    task, criterion = "pretrain", "Chamfer L2"
    head_names: tuple[str, ...] = ()
    families: ClassVar[tuple[str, ...]] = ("Point-MAE",)
    modules_to_save = ()
    parts: ClassVar[dict[str, tuple[str, ...]]] = {"tokenizer": ("MAE_encoder.encoder",), "head": ("increase_dim",)}

    def __init__(self, config: PointMAEConfig) -> None:
        super().__init__()
        dim = config.dim
        self.MAE_encoder = Trunk(config)
        self.config = self.MAE_encoder.config
        self.mask_token = token_parameter(dim)
        self.decoder_pos_embed = position_embedding(dim)
        self.MAE_decoder = Decoder(
            dim, depth=config.decoder_depth, heads=config.heads, drop_path_rate=config.drop_path_rate
        )
        self.increase_dim = nn.Sequential(nn.Conv1d(dim, 3 * config.group_size, 1))

    def forward(self, points: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar in squared units of the points; not finite where the model's answer is not.

        Args:
            points: Clouds (B, N, 3).
            mask: (B, G) bool, True = hidden, the same number in each row; None draws one from torch's CPU generator.

        Raises:
            PccloraError: If the mask cannot be used.
        """
        trunk, B = self.MAE_encoder, len(points)
        neighborhoods, centers = trunk.group(points)
        G = self.config.num_groups
        mask = (random_mask(B, G, self.config.mask_ratio) if mask is None else check_mask(mask, (B, G))).to(
            points.device
        )
        x = trunk.embed(rows(neighborhoods, ~mask))
        (x,) = trunk.blocks(x, trunk.pos_embed(rows(centers, ~mask)))
        visible = trunk.norm(x)

        hidden = rows(neighborhoods, mask)  # (B, M, K, 3)
        M = hidden.shape[1]
        position = self.decoder_pos_embed(torch.cat([rows(centers, ~mask), rows(centers, mask)], dim=1))
        x = torch.cat([visible, self.mask_token.expand(B, M, -1)], dim=1)
        x = self.MAE_decoder.predict(x, position, last=M)
        rebuilt = self.increase_dim(x.transpose(1, 2)).transpose(1, 2)  # (B, M, 3 K)
        rebuilt, hidden = rebuilt.reshape(B * M, -1, 3).to(hidden.dtype), hidden.flatten(0, 1)
        if rebuilt.device.type == "cpu" and not rebuilt.isfinite().all():  # it has diverged; no point is nearest then
            not_finite: Tensor = (rebuilt - hidden).square().mean()
            return not_finite
        return chamfer_distance(rebuilt, hidden)

    def features(self, points: Tensor) -> Tensor:
        """Map clouds (B, N, 3) to features (B, C): max + mean of the unmasked tokens, as the original's SVM probe."""
        trunk = self.MAE_encoder
        neighborhoods, centers = trunk.group(points)
        (x,) = trunk.blocks(trunk.embed(neighborhoods), trunk.pos_embed(centers))
        x = trunk.norm(x)
        pooled: Tensor = x.amax(dim=1) + x.mean(dim=1)
        return pooled

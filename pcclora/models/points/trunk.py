"""What Point-MAE, Point-BERT, ACT and ReCon have in common: tokeniser, position embedding, transformer, norm.

Pang et al., Masked Autoencoders for Point Cloud Self-supervised Learning (ECCV 2022, arXiv 2203.06604). State-dict keys
are those of the released files.
"""

from dataclasses import dataclass, replace

from torch import Tensor, nn

from pcclora.errors import PccloraError
from pcclora.models.points.channels import ChannelBranch
from pcclora.models.points.tokenizer import Grouping, MiniPointNet
from pcclora.models.points.transformer import Transformer, init_trunk
from pcclora.models.sizes import oversized


@dataclass
class PointMAEConfig:
    """Point-MAE.

    Args:
        dim: Width C of a token.
        depth: Number of blocks.
        heads: Attention heads; divides ``dim``.
        num_groups: Groups G of a cloud: 64 for 1,024 points, 128 for 2,048, 512 for 8,192. 0: as the released network
            of the task has, 128 in part segmentation, else 64.
        group_size: Points K of a group.
        encoder_widths: Widths inside the mini-PointNet.
        encoder_dim: Its output width, where a linear map ``reduce_dim`` follows; None: it ends at ``dim``.
        drop_path_rate: Stochastic depth of the last block, growing linearly from 0 at the first.
        head_dropout: Dropout of the head.
        label_dim: Width of the category's code in the part-segmentation head.
        part_widths: Widths inside that head: both layers of the propagation, then the two before the logits.
        decoder_depth: Blocks of the pre-training decoder.
        mask_ratio: Share of groups that pre-training hides.
        skip_near_origin: Never sample points within 0.0316 of the origin, as pointnet2_ops.
    """

    dim: int = 384
    depth: int = 12
    heads: int = 6
    num_groups: int = 0
    group_size: int = 32
    encoder_widths: tuple[int, ...] = (128, 256, 512)
    encoder_dim: int | None = None
    drop_path_rate: float = 0.1
    head_dropout: float = 0.5
    label_dim: int = 64
    part_widths: tuple[int, ...] = (1536, 1024, 512, 256)
    decoder_depth: int = 4
    mask_ratio: float = 0.6
    skip_near_origin: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        self.encoder_widths, self.part_widths = tuple(self.encoder_widths), tuple(self.part_widths)
        names: tuple[str, ...] = ("dim", "depth", "heads", "group_size", "decoder_depth", "label_dim")
        names += () if self.encoder_dim is None else ("encoder_dim",)
        counts = {name: getattr(self, name) for name in names}
        wrong = [f"{name} is {value}, 1 or more is expected" for name, value in counts.items() if value < 1]
        wrong += [f"num_groups is {self.num_groups}, 0 or more is expected"] if self.num_groups < 0 else []
        rates = {name: getattr(self, name) for name in ("drop_path_rate", "head_dropout", "mask_ratio")}
        wrong += [f"{name} is {value}, it lies in [0, 1)" for name, value in rates.items() if not 0 <= value < 1]
        if self.heads >= 1 and self.dim % self.heads:
            wrong.append(f"dim {self.dim} is not divisible by heads {self.heads}")
        for name in ("encoder_widths", "part_widths"):
            widths, wanted = getattr(self, name), len(getattr(type(self), name))
            if len(widths) != wanted or min(widths) < 1:
                wrong.append(f"{name} is {widths}, {wanted} positive widths are expected")
        widths = {f"a width of {name}": max(getattr(self, name)) for name in ("encoder_widths", "part_widths")}
        sizes = {**counts, "num_groups": self.num_groups, **widths}
        wrong = wrong or oversized(sizes, dim=self.dim, depth=max(self.depth, self.decoder_depth))
        if wrong:
            raise PccloraError("; ".join(wrong))

    def groups_of(self, task: str) -> int:
        """Return how many groups the network of a task (``cls``, ``partseg``, ``pretrain``) cuts a cloud into."""
        return self.num_groups or (128 if task == "partseg" else 64)


TOKEN_PLACES = {"grouping": "group", "tokenizer": "encoder", "position": "pos_embed", "stack": "blocks"}
BLOCK_PLACES = {
    "block": "blocks.*",
    "tokens": "blocks.*",
    "attention": "blocks.*.attn",
    "attention_norm": "blocks.*.norm1",
    "mlp": "blocks.*.mlp",
    "mlp_norm": "blocks.*.norm2",
}
"""Where tokens and the parts of a pre-norm block are, by the roles of :mod:`pcclora.adapters.places`."""


class Trunk(nn.Module):
    """Tokeniser, position embedding, transformer, norm: what pre-training trains and fine-tuning keeps.

    Args:
        config: Its widths.
        transformer: The blocks, if not the ordinary ones.
    """

    def __init__(self, config: PointMAEConfig, *, transformer: Transformer | None = None) -> None:
        super().__init__()
        self.config = config = replace(config, num_groups=config.groups_of(getattr(self, "task", "")))
        dim = config.dim
        self.group = Grouping(config.num_groups, config.group_size, skip_near_origin=config.skip_near_origin)
        self.encoder = MiniPointNet(config.encoder_widths, dim if config.encoder_dim is None else config.encoder_dim)
        if config.encoder_dim is not None:
            self.reduce_dim = nn.Linear(config.encoder_dim, dim)
        self.pos_embed = position_embedding(dim)
        self.blocks = transformer or Transformer(
            dim, depth=config.depth, heads=config.heads, drop_path_rate=config.drop_path_rate
        )
        self.norm = nn.LayerNorm(dim)
        self.channels: ChannelBranch | None = None
        self.apply(init_trunk)

    def channel_branch(self, count: int) -> ChannelBranch:
        """Return what reads ``count`` channels."""
        return ChannelBranch(count, self.config.dim, self.config.group_size)

    def tokenize(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Map clouds (B, N, 3 + channels) to their groups' tokens (B, G, C) and centres (B, G, 3)."""
        if self.channels is None:
            neighborhoods, centers = self.group(points)
            return self.embed(neighborhoods), centers
        neighborhoods, centers = self.group(self.channels.places(points))
        return self.embed(neighborhoods) + self.channels(points, centers), centers

    def embed(self, neighborhoods: Tensor) -> Tensor:
        """Map neighbourhoods (B, G, K, 3) to tokens (B, G, C)."""
        tokens: Tensor = self.encoder(neighborhoods)
        return tokens if self.config.encoder_dim is None else self.reduce_dim(tokens)


def position_embedding(dim: int) -> nn.Sequential:
    """Return the map of a centre's coordinates (..., 3) to its position (..., dim)."""
    return nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, dim))

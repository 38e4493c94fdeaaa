"""Pre-norm transformer of the Point-BERT / Point-MAE family, with timm's parameter names.

Dosovitskiy et al., ViT (arXiv 2010.11929); Huang et al., stochastic depth (arXiv 1603.09382). It
differs from timm's ViT where released weights depend on it: ``qkv`` has no bias, the position is added before *every*
block, and LayerNorm's eps is torch's 1e-5, not timm's 1e-6.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DropPath(nn.Module):
    """Stochastic depth: drop the whole residual branch of a sample, and scale the others to keep the expectation.

    Args:
        rate: Probability of dropping a sample's branch, in [0, 1).
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, ...) to the same shape."""
        if self.rate == 0.0 or not self.training:
            return x
        kept = x.new_empty(x.shape[0], *[1] * (x.ndim - 1)).bernoulli_(1 - self.rate)
        return x * kept.div_(1 - self.rate)

    def extra_repr(self) -> str:
        """Show the rate."""
        return f"rate={self.rate:.3g}"


class Attention(nn.Module):
    """Multi-head self-attention.

    Args:
        dim: Width C of a token.
        heads: Number of heads; divides ``dim``.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, T, C) to (B, T, C)."""
        B, T, C = x.shape
        q, k, v = self.qkv(x).reshape(B, T, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v)  # (B, heads, T, C / heads)
        mixed: Tensor = self.proj(out.transpose(1, 2).reshape(B, T, C))
        return mixed


class Mlp(nn.Module):
    """The block's feed-forward part: C -> 4 C -> C with GELU.

    Args:
        dim: Width C of a token.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, T, C) to (B, T, C)."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """Pre-norm block: ``x + attn(norm1(x))``, then ``x + mlp(norm2(x))``.

    Args:
        dim: Width C of a token.
        heads: Number of attention heads.
        drop_path: Rate of :class:`DropPath` on both branches.
    """

    def __init__(self, dim: int, heads: int, *, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, T, C) to (B, T, C)."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return x


class Transformer(nn.ModuleList):
    """A stack of blocks; the position is added before each of them and stays in the residual stream.

    Its blocks are called ``blocks.0``. Released files call them ``blocks.blocks.0``; such keys load as well.

    Args:
        dim: Width C of a token.
        depth: Number of blocks.
        heads: Number of attention heads.
        drop_path_rate: Rate of the last block; it grows linearly from 0 at the first.
        block: The block's class, called as ``block(dim, heads, drop_path=rate)``.
    """

    def __init__(
        self, dim: int, *, depth: int, heads: int, drop_path_rate: float = 0.0, block: type[Block] = Block
    ) -> None:
        super().__init__()
        rates = torch.linspace(0, drop_path_rate, depth, device="cpu").tolist()  # also where a model is made on `meta`
        self.extend(block(dim, heads, drop_path=rate) for rate in rates)
        self.register_load_state_dict_pre_hook(_drop_released_prefix)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor, position: Tensor, *, read: Sequence[int] = (-1,)) -> list[Tensor]:
        """Return what some blocks give, (B, T, C) each.

        Args:
            x: Tokens (B, T, C).
            position: Their positions (B, T, C).
            read: Which blocks, one after the other; the last unless told otherwise.
        """
        wanted = [index % len(self) for index in read]
        outputs: dict[int, Tensor] = {}
        for index, block in enumerate(self):
            x = block(x + position)
            if index in wanted:
                outputs[index] = x
        return [outputs[index] for index in wanted]


class Decoder(nn.Module):
    """The light decoder of masked autoencoding: a :class:`Transformer`, and a norm on the tokens to be predicted.

    Args:
        dim: Width C of a token.
        depth: Number of blocks.
        heads: Number of attention heads.
        drop_path_rate: Rate of the last block.
    """

    def __init__(self, dim: int, *, depth: int, heads: int, drop_path_rate: float = 0.0) -> None:
        super().__init__()
        self.blocks = Transformer(dim, depth=depth, heads=heads, drop_path_rate=drop_path_rate)
        self.norm = nn.LayerNorm(dim)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def predict(self, x: Tensor, position: Tensor, *, last: int) -> Tensor:
        """Map tokens (B, T, C) to the normalised last ones (B, last, C)."""
        (x,) = self.blocks(x, position)
        predicted: Tensor = self.norm(x[:, -last:])
        return predicted


def _drop_released_prefix(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
    for key in [key for key in state if key.startswith(f"{prefix}blocks.")]:
        state[prefix + key.removeprefix(f"{prefix}blocks.")] = state.pop(key)


def init_trunk(module: nn.Module) -> None:
    """Initialise one module as the originals do: weights of linear maps from a normal of std 0.02, cut at 2; biases 0.

    Args:
        module: Any module; only Linear and Conv1d change. Use as ``model.apply(init_trunk)``.
    """
    if isinstance(module, nn.Linear | nn.Conv1d):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def token_parameter(dim: int) -> nn.Parameter:
    """Return a learnt token or position (1, 1, dim), from a normal of std 0.02."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, dim), std=0.02))

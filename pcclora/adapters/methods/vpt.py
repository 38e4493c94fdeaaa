"""``vpt_deep``: learnt tokens beside the model's own, anew before every block.

Jia et al., Visual Prompt Tuning (arXiv 2203.12119). Before block i the tokens are [x_prefix, E_i, x_patches], E_i of p
prompts; what the block makes of the prompts is left out behind it, so the number of tokens never grows.

From the paper: the prompts, their place behind the class token, the uniform start in +-sqrt(6 / (3 patch^2 + C)).
Where a model adds positions before its blocks, as Point-MAE, prompts have positions of their own, both from a normal of
std 0.02: the form that methods for points compare with (arXiv 2304.07221). There prompts stand behind the groups, which
is the same function: attention does not see an order. Ours: prompts are left out behind the last block too; released
code lets them pass through the last norm and leaves them out at the head.
Part segmenters, which read several blocks, need no change for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclora.adapters.base import About, Adapter, AdapterConfig
from pcclora.adapters.places import Place, find_places, has_place, prefix_tokens, token_width
from pcclora.adapters.prompts import put_in, take_out
from pcclora.errors import PccloraError
from pcclora.registry import ADAPTERS


@dataclass
class VPTDeepConfig(AdapterConfig):
    """Settings of VPT-deep.

    Attributes:
        prompts: Number p of prompts of each block; papers choose it task by task, from 1 to 200.
        dropout: Of the prompts, in training.
    """

    shown: ClassVar[tuple[str, ...]] = ("prompts",)
    about: ClassVar[About | None] = About(
        "[prefix, E_i, patches] into block i, prompts left out behind it",
        "VPT (2203.12119); of points IDPT (2304.07221)",
        "prompts are left out behind the last block, not at the head: the same function",
    )

    prompts: int = 10
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        if self.prompts < 1 or not 0 <= self.dropout < 1:
            raise PccloraError(f"prompts is {self.prompts}, at least 1; dropout is {self.dropout}, in [0, 1)")


@ADAPTERS.register("vpt_deep", config=VPTDeepConfig)
class VPTDeep(Adapter):
    """VPT-deep on one model.

    Args:
        config: Its settings.
        model: What is adapted.

    Raises:
        PccloraError: If no tokens can be put into the model's blocks.
    """

    config: VPTDeepConfig
    starts_at_base = False  # attention has more to look at
    released_mark = r"cls_prompt_list\."
    released_names: ClassVar[Mapping[str, str | None]] = {
        r"cls_prompt_list\.(\d+)": r"prompts[\1]",
        r"cls_prompt_pos_list\.(\d+)": r"positions[\1]",
    }

    def __init__(self, config: VPTDeepConfig, model: nn.Module) -> None:
        blocks = find_places(model, ["tokens"])
        super().__init__(config, model, places=blocks)
        self.prefix = prefix_tokens(model)
        like = next(model.get_submodule(blocks[0].module).parameters())
        C = token_width(model, blocks[0])
        prompts = torch.empty(len(blocks), config.prompts, C)
        patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
        if patch is None:
            nn.init.trunc_normal_(prompts, std=0.02)
        else:
            bound = sqrt(6 / (3 * patch[0] * patch[1] + C))
            nn.init.uniform_(prompts, -bound, bound)
        self.prompts = nn.Parameter(prompts.to(like))
        self.positions: nn.Parameter | None = None
        if has_place(model, "position"):
            self.positions = nn.Parameter(nn.init.trunc_normal_(torch.empty_like(prompts), std=0.02).to(like))

    def before(self, place: Place, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Put the block's prompts behind the prefix tokens."""
        x, *rest = inputs
        prompts = F.dropout(self.prompts[place.index], self.config.dropout, self.training)
        if self.positions is not None:
            prompts = prompts + self.positions[place.index]
        prompts = prompts.expand(x.shape[0], -1, -1)
        return put_in(x, prompts, behind=self.prefix), *rest

    def after(self, place: Place, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """Leave out what the block made of them."""
        return take_out(output, self.config.prompts, behind=self.prefix)

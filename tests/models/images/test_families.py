"""Which families of timm can be adapted: built without memory, an adapter attached, run once, every target called."""

import pytest
import timm
import torch

import pcclora
from pcclora.adapters.linear import AdaptedLinear
from pcclora.errors import PccloraError
from pcclora.models import create_model, image_input, list_models
from pcclora.models.images.from_timm import FAMILIES


def adapted_but_not_called(name):
    """Attach LoRA to its default targets on the meta device; return those that a forward passes by."""
    with torch.device("meta"):
        model = create_model(f"timm/{name}").eval()
        pcclora.attach(model, pcclora.LoRAConfig(r=2))
        targets = {key: module for key, module in model.named_modules() if isinstance(module, AdaptedLinear)}
        called = set()
        for key, module in targets.items():
            module.register_forward_hook(lambda *_, key=key: called.add(key))
        S = image_input(model.config).size
        model(torch.empty(1, 3, S, S))
    assert targets
    return targets.keys() - called


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_target_of_a_listed_family_is_called(family):
    """Its shortest name; docs/checkpoints.md counts all of them."""
    listed = set(list_models("timm/*"))
    names = [name for name in timm.list_models(module=family) if f"timm/{name}" in listed]
    assert not adapted_but_not_called(min(names, key=len))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("beit_base_patch16_224", "reads its weight without calling it"),
        ("eva02_tiny_patch14_224", "reads its weight without calling it"),
        ("swinv2_tiny_window8_256", "reads its weight without calling it"),
        ("gcvit_xxtiny", "splits its 128 rows evenly"),
        ("vit_base_patch16_xp_224", "lacks attention with linear maps"),
        ("crossvit_tiny_240", "lacks"),
        ("volo_d1_224", "one linear head"),
    ],
)
def test_others_are_refused(name, message):
    with pytest.raises(PccloraError, match=message):
        adapted_but_not_called(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["eva02_base_patch14_224", "pit_ti_224", "twins_svt_small"])
def test_some_of_other_families_can_be_adapted(name):
    assert not adapted_but_not_called(name)

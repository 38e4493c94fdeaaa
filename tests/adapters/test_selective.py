"""What linear probing, BitFit and full fine-tuning train, tensor by tensor."""

import pytest
from torch import nn

import pcclora
from pcclora import BitFitConfig, FullConfig, LinearConfig, PccloraError
from tests.adapters.backbones import BACKBONES, fused_vit, mlp, timm_split_vit


@pytest.mark.parametrize("backbone", BACKBONES)
def test_linear_trains_the_head_alone(backbone: str) -> None:
    model, _ = BACKBONES[backbone]()
    saved = ("head",) if backbone == "mlp" else None
    adapter = pcclora.attach(model, LinearConfig(modules_to_save=saved))
    names = ("head",) if backbone == "mlp" else model.modules_to_save
    assert adapter.trained_parameters
    assert all(name.startswith(names) for name in adapter.trained_parameters)
    assert not list(adapter.parameters())
    assert adapter.regularization() == 0


@pytest.mark.parametrize("backbone", BACKBONES)
def test_bitfit_trains_the_biases_that_exist_and_the_head(backbone: str) -> None:
    model, _ = BACKBONES[backbone]()
    names = {name for name, _ in model.named_parameters()}
    saved = ("head",) if backbone == "mlp" else model.modules_to_save
    adapter = pcclora.attach(model, BitFitConfig(modules_to_save=saved))
    assert set(adapter.trained_parameters) == {n for n in names if n.endswith(".bias") or n.startswith(saved)}
    assert {name for name, _ in model.named_parameters()} == names  # none was made
    assert all(name.startswith(saved) for name in adapter.trained_buffers)


def test_bitfit_finds_biases_by_their_other_names() -> None:
    adapter = pcclora.attach(nn.MultiheadAttention(4, 2), BitFitConfig())
    assert set(adapter.trained_parameters) == {"in_proj_bias", "out_proj.bias"}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_full_trains_everything(backbone: str) -> None:
    model, _ = BACKBONES[backbone]()
    parameters, state = [name for name, _ in model.named_parameters()], list(model.state_dict())
    adapter = pcclora.attach(model, FullConfig())
    assert set(adapter.trained_parameters) == set(parameters)
    assert set(adapter.trained_parameters) | set(adapter.trained_buffers) == set(state)
    assert pcclora.count_parameters(model).share == 1


def test_what_was_frozen_before_is_frozen_after_detaching() -> None:
    model, _ = fused_vit()
    model.blocks[0].requires_grad_(False)
    before = [parameter.requires_grad for parameter in model.parameters()]
    pcclora.attach(model, FullConfig())
    assert all(parameter.requires_grad for parameter in model.parameters())
    pcclora.detach(model)
    assert [parameter.requires_grad for parameter in model.parameters()] == before


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(PccloraError, match="declares no modules_to_save: name the head"):
        pcclora.attach(mlp()[0], LinearConfig())
    with pytest.raises(PccloraError, match="has no bias"):
        pcclora.attach(nn.Sequential(nn.Linear(2, 2, bias=False)), BitFitConfig())
    with pytest.raises(PccloraError, match="modules_to_save 'tail' matches nothing"):
        pcclora.attach(timm_split_vit()[0], FullConfig(modules_to_save=("tail",)))

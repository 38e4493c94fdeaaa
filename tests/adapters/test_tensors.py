"""The tensors of an adapter, and the fingerprint of the base they belong to."""

import pytest
import torch

from pcclora import adapters as ad
from pcclora.errors import PccloraError
from tests.adapters.backbones import fused_vit, mlp
from tests.adapters.files import METHODS, assert_unchanged, config_for, read, saved, state_of, trained


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("groups.16x16.D"), "missing 'groups.16x16.D'"),
        (lambda t: t.update(a=torch.zeros(1)), "unknown 'a'"),
        (lambda t: t.update(cls_token=torch.zeros(16)), r"'cls_token' has shape \(16,\), \(1, 1, 16\) is expected"),
        (lambda t: t.update(cls_token=torch.full((1, 1, 16), torch.nan)), "'cls_token' holds 16 values"),
        (lambda t: t.update(cls_token=torch.full((1, 1, 16), 1e300, dtype=torch.double)), "'cls_token' holds 16"),
        (lambda t: t.update(cls_token=torch.zeros(1, 1, 16, dtype=torch.int32)), "'cls_token' is torch.int32"),
    ],
)
def test_tensors_that_do_not_fit_change_nothing(change, message):
    model, _ = trained()
    before = state_of(model)
    tensors = {key: torch.zeros_like(tensor) for key, tensor in ad.adapter_tensors(model).items()}
    change(tensors)
    with pytest.raises(PccloraError, match=f"adapter 'default': {message}"):
        ad.load_adapter_tensors(model, tensors)
    assert_unchanged(model, before)


@pytest.mark.parametrize("method", METHODS)
def test_the_fingerprint_is_that_of_the_base_whatever_the_adapter_does(method):
    base, _ = fused_vit()
    model, x = trained(method)
    own = ad.adapter_tensors(model).keys()
    expected = ad.base_fingerprint(base, exclude=own)
    assert ad.base_fingerprint(model) == expected
    model.train()(x).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter -= parameter.grad
    assert ad.base_fingerprint(model) == expected
    with ad.disabled(model):
        assert ad.base_fingerprint(model, exclude=own) == expected
        assert ad.base_fingerprint(model) == ad.base_fingerprint(base)
    if "lora" in method:
        ad.merge(model.eval())
        assert ad.base_fingerprint(model) == expected
        assert ad.base_fingerprint(model.double()) == expected
        ad.unmerge(model)
    ad.detach(model)
    assert ad.base_fingerprint(model) == ad.base_fingerprint(base)


def test_the_fingerprint_depends_on_every_frozen_tensor():
    model, _ = mlp()
    ad.attach(model, config_for("clora", "mlp"))
    expected = ad.base_fingerprint(model)
    frozen = set(model.state_dict()) - {"head.weight", "head.bias"}
    for key in [key for key in frozen if not key.startswith("adapters.")]:
        tensor = model.state_dict()[key].view(-1)
        kept = tensor[0].clone()
        tensor[0] += 1
        assert ad.base_fingerprint(model) != expected, key
        tensor[0] = kept
    assert ad.base_fingerprint(model) == expected


def test_the_tensors_are_what_the_file_holds(tmp_path):
    model, _ = saved(tmp_path)
    tensors, _ = read(tmp_path)
    mine = ad.adapter_tensors(model)
    assert mine.keys() == tensors.keys() and all(torch.equal(mine[key], tensors[key]) for key in mine)

"""Masked autoencoding of images: against the plain formula, and from a pre-training file to a classifier."""

import pytest
import torch
from safetensors.torch import save_file

import pcclora
from pcclora.errors import PccloraError
from pcclora.models.images.mae import patchify

pytest.importorskip("timm", reason="timm is not installed (pip install pcclora[image])")
SMALL = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2}


def made(seed=0, **options):
    torch.manual_seed(seed)
    return pcclora.create_model("vit_mini", task="pretrain", **(SMALL | options))


def drawn(B=3, T=16, hidden=12):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(B, 3, 16, 16, generator=generator), torch.rand(B, T, generator=generator).argsort(1) < hidden


def naive_loss(model, image, mask):
    """One image, one token at a time."""
    T = len(mask)
    patch = [image[:, 4 * (t // 4) : 4 * (t // 4) + 4, 4 * (t % 4) : 4 * (t % 4) + 4] for t in range(T)]
    weight = model.patch_embed.proj.weight.flatten(1)
    tokens = [
        weight @ p.flatten() + model.patch_embed.proj.bias + model.pos_embed[0, 1 + t] for t, p in enumerate(patch)
    ]
    seen = [t for t in range(T) if not mask[t]]
    x = torch.stack([model.cls_token[0, 0] + model.pos_embed[0, 0], *(tokens[t] for t in seen)])[None]
    for block in model.blocks:
        x = block(x)
    x = model.decoder_embed(model.norm(x))[0]
    full = [x[1 + seen.index(t)] if t in seen else model.mask_token[0, 0] for t in range(T)]
    x = (torch.stack([x[0], *full]) + model.decoder_pos_embed[0])[None]
    for block in model.decoder_blocks:
        x = block(x)
    rebuilt = model.decoder_pred(model.decoder_norm(x))[0, 1:]
    errors = []
    for t in range(T):
        if mask[t]:
            pixels = patch[t].flatten()
            errors.append(((rebuilt[t] - (pixels - pixels.mean()) / (pixels.var() + 1e-6).sqrt()) ** 2).mean())
    return torch.stack(errors).mean()


def test_the_loss_is_that_of_the_plain_formula():
    model = made().double().eval()
    images, mask = drawn()
    images = images.double()
    expected = torch.stack([naive_loss(model, image, row) for image, row in zip(images, mask, strict=True)]).mean()
    assert model(images, mask).item() == pytest.approx(expected.item(), rel=1e-10)


def test_patches_come_in_the_order_in_which_they_are_embedded():
    images, _ = drawn()
    embed = made().patch_embed
    by_hand = patchify(images, 4) @ embed.proj.weight.flatten(1).T + embed.proj.bias
    torch.testing.assert_close(by_hand, embed(images))


def test_every_parameter_learns_and_masks_are_drawn_anew():
    model = made()
    images, _ = drawn()
    torch.manual_seed(0)
    first, second = model(images), model(images)
    assert first.item() != second.item()
    first.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_what_was_hidden_does_not_reach_the_prediction():
    model = made().eval()
    images, mask = drawn(B=1)
    images.requires_grad_(True)
    seen = model.patch_embed(images)
    model.decoder_pred.register_forward_hook(lambda _, __, out: setattr(model, "rebuilt", out))
    model(images, mask)
    (gradient,) = torch.autograd.grad(model.rebuilt.sum(), images)
    touched = patchify(gradient, 4)[0].abs().sum(1) > 0
    assert torch.equal(touched, ~mask[0]) and seen.shape[1] == mask.shape[1]


def test_a_pretraining_file_is_a_checkpoint_of_the_classifier(tmp_path):
    model = made()
    file = tmp_path / "model.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in model.state_dict().items()}, file)
    classifier = pcclora.create_model("vit_mini", num_classes=5, **SMALL)
    report = pcclora.load_checkpoint(classifier, file)
    assert set(report.missing) == {"head.weight", "head.bias"} and not report.head_loaded
    state = model.state_dict()
    assert all(torch.equal(t, state[k]) for k, t in classifier.state_dict().items() if k not in report.missing)


def test_only_plain_vits_are_pretrained():
    with pytest.raises(PccloraError, match="masked autoencoding takes plain ViTs with a class token alone"):
        pcclora.create_model("timm/deit_tiny_distilled_patch16_224", task="pretrain", img_size=32, depth=1)
    model = pcclora.create_model("timm/vit_tiny_patch16_224", task="pretrain", img_size=32, depth=1)
    assert model(torch.rand(2, 3, 32, 32)).ndim == 0


@pytest.mark.parametrize("hidden", [0, 16])
def test_masks_that_hide_nothing_or_all_are_refused(hidden):
    images, mask = drawn(hidden=hidden)
    with pytest.raises(PccloraError, match="of 16 tokens; hide the same number in each row"):
        made()(images, mask)

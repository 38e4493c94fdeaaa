import math

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms as T
from torchvision.transforms import functional as TF

from pcclora.data import (
    IMAGE_PRESETS,
    DigitsConfig,
    DigitsDataset,
    ImageDataset,
    ImageSample,
    ProceduralConfig,
    ProceduralDataset,
    Subset,
    image_loader,
    make_image_loader,
    make_loader,
    set_epoch,
)
from pcclora.data.image_transforms import Frame, _draw_rectangle
from pcclora.data.transforms import stream
from pcclora.errors import PccloraError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FILTERS = {
    "bicubic": T.InterpolationMode.BICUBIC,
    "bilinear": T.InterpolationMode.BILINEAR,
    "nearest": T.InterpolationMode.NEAREST,
}


class Photographs(ImageDataset):
    """Random pictures of several sizes; counts how often one is read."""

    name, split, class_names = "photographs", "train", ("a", "b")
    sizes = ((40, 60), (60, 40), (33, 33), (7, 5), (90, 31), (50, 49), (64, 64))

    def __init__(self):
        self.labels = np.arange(len(self.sizes)) % 2
        self.reads = 0

    def __getitem__(self, index):
        self.reads += 1
        pixels = np.random.default_rng(index).integers(0, 256, (*self.sizes[index], 3), dtype=np.uint8)
        return ImageSample(pixels, int(self.labels[index]), f"photograph {index}")


def loader(dataset=None, **settings):
    options = {
        "size": 32,
        "mean": MEAN,
        "std": STD,
        "interpolation": "bicubic",
        "crop": 0.9,
        "batch_size": 3,
        "train": True,
    }
    return make_image_loader(Photographs() if dataset is None else dataset, **(options | settings))


def collect(batches, key="images"):
    return torch.cat([batch[key] for batch in batches])


def test_batches_are_dicts_of_tensors():
    batches = list(loader())
    assert [len(batch["index"]) for batch in batches] == [3, 3, 1] and len(list(loader(drop_last=True))) == 2
    images = batches[0]["images"]
    assert images.shape == (3, 3, 32, 32) and images.dtype == torch.float32 and images.is_contiguous()
    assert batches[0]["labels"].dtype == batches[0]["index"].dtype == torch.int64
    assert sorted(collect(batches, "index").tolist()) == list(range(7))
    assert torch.equal(collect(batches, "labels"), collect(batches, "index") % 2)


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("preset", ["none", "crop"])
def test_images_are_those_of_torchvision_to_the_bit(preset, interpolation):
    mode = FILTERS[interpolation]
    fit = {
        "none": [T.Resize((32, 32), interpolation=mode)],
        "crop": [T.Resize(int(32 / 0.9), interpolation=mode), T.CenterCrop(32)],
    }[preset]
    theirs = T.Compose([*fit, T.ToTensor(), T.Normalize(MEAN, STD)])
    dataset = Photographs()
    ours = collect(loader(dataset, train=False, augmentation=preset, interpolation=interpolation))
    assert torch.equal(ours, torch.stack([theirs(Image.fromarray(dataset[i].pixels)) for i in range(7)]))


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.floats(0.3, 1), st.sampled_from(sorted(FILTERS)))
def test_images_of_any_size_are_fitted_as_torchvision_does(width, height, size, crop, interpolation):
    pixels = np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image, frame, mode = Image.fromarray(pixels), Frame(size, interpolation, crop), FILTERS[interpolation]
    theirs = T.Compose([T.Resize(math.floor(size / crop), interpolation=mode), T.CenterCrop(size)])(image)
    np.testing.assert_array_equal(np.asarray(IMAGE_PRESETS["crop"].test(image, frame, stream(0))), np.asarray(theirs))
    theirs = T.Resize((size, size), interpolation=mode)(image)
    np.testing.assert_array_equal(np.asarray(IMAGE_PRESETS["none"].test(image, frame, stream(0))), np.asarray(theirs))


@pytest.mark.parametrize("size, crop", [(32, 0.9), (32, 0.875), (56, 0.95), (224, 0.9)])
def test_the_crop_is_that_of_timms_evaluation(size, crop):
    from timm.data import create_transform

    theirs = create_transform(
        (3, size, size), interpolation="bicubic", mean=MEAN, std=STD, crop_pct=crop, crop_mode="center"
    )
    dataset = Photographs()
    ours = collect(loader(dataset, train=False, augmentation="crop", size=size, crop=crop))
    assert torch.equal(ours, torch.stack([theirs(Image.fromarray(dataset[i].pixels)) for i in range(7)]))


def test_the_test_side_of_fgvc_is_224_of_256_whatever_the_model_says():
    dataset = Photographs()
    ours = collect(loader(dataset, train=False, augmentation="fgvc", size=224, crop=1.0, mean=(0, 0, 0), std=(1, 1, 1)))
    theirs = T.Compose([T.Resize(256, interpolation=FILTERS["bicubic"]), T.CenterCrop(224), T.ToTensor()])
    assert torch.equal(ours, torch.stack([theirs(Image.fromarray(dataset[i].pixels)) for i in range(7)]))


def test_random_crops_are_crops_of_the_resized_image_and_half_are_mirrored():
    dataset = Subset(Photographs(), [0])
    resized = TF.resize(Image.fromarray(dataset[0].pixels), 36, interpolation=FILTERS["bicubic"])
    crops = {}
    for top in range(resized.height - 31):
        for left in range(resized.width - 31):
            crop = TF.crop(resized, top, left, 32, 32)
            crops[np.asarray(crop).tobytes()] = (top, left, False)
            crops[np.asarray(TF.hflip(crop)).tobytes()] = (top, left, True)
    current, seen = loader(dataset, augmentation="fgvc", crop=0.5, mean=(0, 0, 0), std=(1, 1, 1), batch_size=1), []
    for epoch in range(400):
        set_epoch(current, epoch)
        pixels = (collect(current)[0] * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
        seen.append(crops[pixels.numpy().tobytes()])
    tops, lefts, mirrored = zip(*seen, strict=True)
    assert set(tops) == set(range(resized.height - 31)) and set(lefts) == set(range(resized.width - 31))
    assert 160 < sum(mirrored) < 240


@pytest.mark.parametrize("width, height", [(64, 48), (300, 20), (1, 1)])
def test_rectangles_lie_within_the_image_and_have_torchvisions_areas_and_aspects(width, height):
    drawn = np.array([_draw_rectangle(width, height, stream(0, i)) for i in range(500)])
    left, top, w, h = drawn.T
    assert (
        (drawn[:, :2] >= 0).all()
        and (left + w <= width).all()
        and (top + h <= height).all()
        and (drawn[:, 2:] > 0).all()
    )
    torch.manual_seed(0)
    image = torch.zeros(3, height, width)
    theirs = np.array([T.RandomResizedCrop.get_params(image, [0.08, 1], [3 / 4, 4 / 3]) for _ in range(500)])
    for ours, other in (
        (w * h, theirs[:, 2] * theirs[:, 3]),
        (w / h, theirs[:, 3] / theirs[:, 2]),
        (left, theirs[:, 1]),
    ):
        spread = max(ours.std(), 1e-9) / np.sqrt(500)
        assert abs(ours.mean() - other.mean()) < 6 * spread + 1e-9


def test_a_random_resized_crop_is_torchvisions_for_the_same_rectangle():
    image = Image.fromarray(Photographs()[0].pixels)
    left, top, width, height = _draw_rectangle(image.width, image.height, stream(1))
    ours = IMAGE_PRESETS["random_resized_crop"].train(image, Frame(32), stream(1))
    theirs = TF.resized_crop(image, top, left, height, width, [32, 32], interpolation=FILTERS["bicubic"])
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


@pytest.mark.parametrize("augmentation", IMAGE_PRESETS)
def test_two_workers_give_what_none_gives_and_leave_the_global_random_state_alone(augmentation):
    states, epochs = [], []
    for workers in (0, 2):
        torch.manual_seed(0)
        current, batches = loader(workers=workers, augmentation=augmentation, seed=5), []
        for epoch in (3, 1):
            set_epoch(current, epoch)
            batches += list(current)
        states.append(torch.rand(3))
        epochs.append(batches)
    for ours, theirs in zip(*epochs, strict=True):
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert torch.equal(*states)


def test_an_image_depends_on_seed_epoch_and_index_and_the_test_side_on_none():
    def first(epoch, **settings):
        current = loader(Subset(Photographs(), [1]), augmentation="random_resized_crop", **settings)
        set_epoch(current, epoch)
        return collect(current)

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1)) and not torch.equal(first(0), first(0, seed=1))
    assert torch.equal(first(0, train=False), first(1, train=False, seed=1))


def test_what_is_fitted_the_same_in_every_epoch_is_decoded_once_if_it_may_be_kept(monkeypatch):
    def reads(**settings):
        dataset = Photographs()
        current = loader(dataset, **settings)
        list(current), list(current)
        return dataset.reads

    assert reads() == reads(augmentation="flip") == reads(train=False) == 7
    assert reads(augmentation="fgvc") == 15  # and the one that is tried at the start
    monkeypatch.setattr(image_loader, "KEPT_BYTES", 7 * 32 * 32 * 3 - 1)
    assert reads() == 15


def test_a_kept_image_is_mirrored_anew_and_not_changed():
    current = loader(Subset(Photographs(), [2]), augmentation="flip", batch_size=1)
    seen = []
    for epoch in range(20):
        set_epoch(current, epoch)
        seen.append(collect(current))
    plain = collect(loader(Subset(Photographs(), [2])))
    same = [torch.equal(image, plain) for image in seen]
    assert 0 < sum(same) < 20
    assert all(kept or torch.equal(image, plain.flip(-1)) for kept, image in zip(same, seen, strict=True))


def test_accelerate_keeps_epochs():
    plain, prepared = loader(augmentation="fgvc"), Accelerator(cpu=True).prepare(loader(augmentation="fgvc"))
    for epoch in (2, 0):
        set_epoch(plain, epoch)
        set_epoch(prepared, epoch)
        assert torch.equal(collect(plain), collect(prepared))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"augmentation": "crops"}, "did you mean 'crop'"),
        ({"interpolation": "bicube"}, "did you mean 'bicubic'"),
        ({"crop": 0.0}, "crop is 0.0"),
        ({"crop": 1.5}, "crop is 1.5"),
        ({"size": 0}, "image size is 0"),
        ({"mean": (0.5, 0.5)}, "three numbers each"),
        ({"std": (0.5, 0.5, 0.0)}, "std above 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"workers": -1}, "workers is -1"),
        ({"dataset": Subset(Photographs(), [])}, "has no samples"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(PccloraError, match=message):
        loader(**settings)


def test_each_loader_refuses_what_the_other_one_takes():
    clouds = ProceduralDataset(ProceduralConfig(train=2, points=8), split="train")
    with pytest.raises(PccloraError, match="procedural: holds point clouds; images are needed"):
        loader(clouds)
    with pytest.raises(PccloraError, match="digits: holds images; point clouds are needed"):
        make_loader(DigitsDataset(DigitsConfig(), split="train"), points=8, batch_size=2, train=True)

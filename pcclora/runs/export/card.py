"""What lies beside an exported model: ``model.json``, all that a program must know of it, and a program that does."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from pcclora import __version__
from pcclora.data.features import columns_of
from pcclora.data.image_transforms import centre_crop, find_image_preset
from pcclora.data.readers.up_axis import TURNS
from pcclora.data.transforms import center_and_normalize, find_presets
from pcclora.models.images.configs import image_input
from pcclora.registry import ADAPTERS, MODELS
from pcclora.runs.export.network import Network
from pcclora.runs.export.targets import Target
from pcclora.runs.reload import TrainedRun
from pcclora.tasks.settings import ImageRun

CARD, EXAMPLE = "model.json", "example.py"


def card_of(
    run: TrainedRun, network: Network, target: Target, *, inputs: tuple[Tensor, ...], check: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the content of ``model.json``.

    Args:
        run: The run.
        network: What was exported of it.
        target: To what.
        inputs: A batch of its inputs.
        check: How far it is from eager.
    """
    config, labels = run.config, run.labels
    held: dict[str, Any] = {
        "file": target.file,
        "task": config.task,
        "model": MODELS.name_of(config.model),
        "adapter": {"name": ADAPTERS.name_of(config.adapter), "merged": network.merged},
        "classes": list(labels.class_names),
    }
    if labels.parts is not None:
        names, own = labels.parts.names, zip(labels.class_names, labels.parts.of_class, strict=True)
        held["parts"] = {category: {names[part]: part for part in parts} for category, parts in own}
        answer = ["batch", "queries", len(names)]
    else:
        answer = ["batch", len(labels.class_names)]
        held["temperature"] = run.temperature.value
    held |= _of_images(config) if isinstance(config, ImageRun) else _of_points(config)
    return held | {
        "inputs": {
            name: {
                "dtype": str(value.dtype).removeprefix("torch."),
                "shape": [axes.get(axis, size) for axis, size in enumerate(value.shape)],
            }
            for (name, axes), value in zip(network.inputs.items(), inputs, strict=True)
        },
        "outputs": {"logits": {"dtype": "float32", "shape": answer}},
        "check": dict(check),
        "versions": {"pcclora": __version__, **target.versions()},
    }


def _of_points(config: Any) -> dict[str, Any]:
    """Return what a cloud goes through before a model sees it, in this order."""
    names = config.data.features
    starts = [[columns.start, columns.stop] for columns in (columns_of(name, names) for name in names)]
    steps = [step for preset in find_presets(config.augmentation) for step in preset.test]
    return {
        "up": config.data.up or "y",
        "turn": {up: turn.tolist() for up, turn in TURNS.items()},
        **({"features": dict(zip(names, starts, strict=True))} if names else {}),
        "normalize": config.data.normalize,
        "points": config.points,
        "normalize_points": center_and_normalize in steps,
    }


def _of_images(config: ImageRun) -> dict[str, Any]:
    """Return what an image goes through before a model sees it."""
    expected = image_input(config.model, normalization=config.normalization)
    preset = find_image_preset(config.augmentation)
    crop = (preset.crop or expected.crop) if preset.test is centre_crop else None
    return {
        "size": expected.size,
        "crop": crop,
        "interpolation": expected.interpolation,
        "mean": list(expected.mean),
        "std": list(expected.std),
    }

"""``procedural_images``: made-up images to pre-train a small network on, from a seed. No files, no download.

Forty classes, eight shapes in five textures; the colours say nothing. Shapes are turned, stretched and bent; what lies
behind is coloured, textured and cluttered; something may lie in front; the whole is blurred, faded and noisy. An image
is a pure function of (seed, split, index), in float64 from a Philox stream, so that it is the same in every process.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from pcclora.data.base import ByteArray, DataConfig, ImageDataset, ImageSample, check_split
from pcclora.data.digests import digest_of_text
from pcclora.data.sets.procedural.silhouettes import SHAPES, TEXTURES, Grid
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS

SPLITS = ("train", "test")
CLASS_NAMES = tuple(f"{texture} {shape}" for shape in SHAPES for texture in TEXTURES)
LUMINANCE = np.array([0.299, 0.587, 0.114])
_SHAPES, _TEXTURES = tuple(SHAPES.values()), tuple(TEXTURES.values())


@dataclass
class ProceduralImagesConfig(DataConfig):
    """What images to make, and how hard to make them.

    Attributes:
        train: Images in the training split; classes take turns, so that all are equally frequent.
        test: Images in the test split.
        size: Side of an image, in pixels.
        seed: Another seed gives other images.
        difficulty: Scales all that hides the class: 0 shows plain shapes on plain ground.
    """

    train: int = 40_000
    test: int = 4_000
    size: int = 32
    seed: int = 0
    difficulty: float = 1.0

    def __post_init__(self) -> None:
        for name, least in (("train", 1), ("test", 1), ("size", 8), ("seed", 0)):
            if getattr(self, name) < least:
                raise PccloraError(f"{name} is {getattr(self, name)}; at least {least} is needed")
        if not 0 <= self.difficulty <= 1:
            raise PccloraError(f"difficulty is {self.difficulty}; a number between 0 and 1 is needed")


@DATASETS.register("procedural_images", config=ProceduralImagesConfig)
class ProceduralImagesDataset(ImageDataset):
    """The images of one split, made when they are asked for.

    Args:
        config: How many and how hard.
        split: ``"train"`` or ``"test"``.

    Raises:
        PccloraError: If there is no such split.
    """

    name = "procedural_images"

    def __init__(self, config: ProceduralImagesConfig, *, split: str) -> None:
        check_split("procedural_images", split, SPLITS)
        self.config, self.split, self.class_names = config, split, CLASS_NAMES
        self.labels = np.arange(getattr(config, split)) % len(CLASS_NAMES)

    def path_of(self, index: int) -> str:
        """Return what an object's recipe is called."""
        return f"procedural_images:{self.config.seed}/{self.split}/{index}"

    def digest_of(self, index: int) -> str:
        """Return what tells its recipe from others: nothing that only says how many objects there are."""
        recipe = {key: value for key, value in asdict(self.config).items() if key not in SPLITS}
        return digest_of_text(f"{self.name} {recipe} {self.split} {index}")

    def __getitem__(self, index: int) -> ImageSample:
        if not 0 <= index < len(self):
            raise IndexError(f"procedural_images: index {index} of {len(self)} samples")
        label = int(self.labels[index])
        entropy = (self.config.seed, SPLITS.index(self.split), index)
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))
        pixels = make_image(label, self.config, rng)
        return ImageSample(pixels, label, self.path_of(index))


def make_image(label: int, config: ProceduralImagesConfig, rng: np.random.Generator) -> ByteArray:
    """Make one image of a class.

    Args:
        label: Which class.
        config: How large, and how hard.
        rng: Where the randomness comes from.

    Returns:
        Pixels (S, S, 3).
    """
    canvas = _Canvas(config.size, config.difficulty, rng)
    canvas.ground()
    canvas.clutter()
    canvas.object(*divmod(label, len(TEXTURES)))
    canvas.occlude()
    return canvas.photograph()


class _Canvas:
    """An image in the making: colours (S, S, 3) in [0, 1]; coordinates run from -1 to 1, y upwards."""

    def __init__(self, size: int, hard: float, rng: np.random.Generator) -> None:
        self.size, self.hard, self.rng = size, hard, rng
        axis = (np.arange(size) + 0.5) * (2 / size) - 1
        self.x, self.y = np.meshgrid(axis, -axis)
        self.paper: Grid = np.empty((size, size, 3))
        self.below: NDArray[np.float64] = np.zeros(3)

    def draw(self, low: float, high: float) -> float:
        return low + (high - low) * float(self.rng.random())

    def ground(self) -> None:
        """A gradient from one colour to another, textured in half of the images."""
        first, second = self.rng.random((2, 3))
        second = first + (second - first) * self.hard
        x, y = _turn(self.x, self.y, self.draw(0, 2 * np.pi))
        share = np.clip(0.5 + x / 2, 0, 1)
        if self.rng.random() < 0.5 * self.hard:
            texture = _TEXTURES[int(self.rng.random() * len(_TEXTURES))]
            period = self.draw(0.25, 0.9)
            pattern = texture(x / period + self.draw(0, 8), y / period + self.draw(0, 8), self.rng.random(64))
            share = share + self.draw(0.3, 1) * (pattern - share)
        self.below = (first + second) / 2
        self.paper[:] = first + share[..., None] * (second - first)

    def clutter(self) -> None:
        """Up to four strokes and spots behind the object."""
        for _ in range(int(5 * self.hard * self.rng.random())):
            self._paint(self._stroke(self.draw(0.02, 0.12), self.draw(0.02, 0.6)), self.rng.random(3))

    def object(self, shape: int, texture: int) -> None:
        """The shape that the image is of, in two colours that stand out from the ground, at times with an outline."""
        scale, bend = self.draw(0.5, 0.95), 0.18 * self.hard
        room = 1.05 - scale
        x, y = self.x - self.draw(-room, room), self.y - self.draw(-room, room)
        x, y = _turn(x, y, self.draw(-1, 1) * np.pi / 3)
        x = (x + self.draw(-0.3, 0.3) * self.hard * y) / (scale * self.draw(0.8, 1.1))
        y = y / (scale * self.draw(0.8, 1.1))
        x, y = (
            x + bend * self.rng.random() * np.sin(self.draw(1, 3) * y + self.draw(0, 6.3)),
            y + bend * self.rng.random() * np.sin(self.draw(1, 3) * x + self.draw(0, 6.3)),
        )
        distance = _SHAPES[shape](x, y) * scale
        first = self._colour_apart(self.below)
        second = self._colour_apart(first, self.below)
        u, v = _turn(self.x, self.y, self.draw(0, np.pi))
        period = self.draw(0.28, 0.5)
        share = _TEXTURES[texture](u / period + self.draw(0, 8), v / period + self.draw(0, 8), self.rng.random(64))
        self._paint(distance, first + share[..., None] * (second - first))
        if self.rng.random() < 0.3 * self.hard:
            self._paint(np.abs(distance) - self.draw(0.03, 0.08), self.rng.random(3))

    def occlude(self) -> None:
        """A bar in front, in a third of the images."""
        if self.rng.random() < 0.35 * self.hard:
            self._paint(self._stroke(self.draw(0.04, 0.16), self.draw(0.3, 2)), self.rng.random(3))

    def photograph(self) -> ByteArray:
        """Blur, fade, take out the colour of some, add noise, and round to bytes."""
        image = self.paper
        blur = self.draw(0, 0.33) * self.hard * (self.rng.random() < 0.5)
        if blur:
            for axis in (0, 1):
                padded = np.concatenate([image.take([0], axis), image, image.take([-1], axis)], axis)
                near = padded.take(range(self.size), axis) + padded.take(range(2, self.size + 2), axis)
                image = (1 - 2 * blur) * image + blur * near
        if self.rng.random() < 0.2:
            image = np.repeat((image @ LUMINANCE)[..., None], 3, axis=2)
        contrast = 1 - 0.55 * self.hard * self.rng.random() ** 2
        image = self.rng.random() * (1 - contrast) + image * contrast
        noise = 0.1 * self.hard * self.rng.random() ** 2
        image = image + noise * np.sqrt(3) * (2 * self.rng.random(image.shape) - 1)
        return np.asarray(np.rint(np.clip(image, 0, 1) * 255), np.uint8)

    def _stroke(self, width: float, length: float) -> Grid:
        """Signed distance of a round-ended bar anywhere in the image."""
        x, y = _turn(self.x - self.draw(-1, 1), self.y - self.draw(-1, 1), self.draw(0, np.pi))
        return np.hypot(np.maximum(np.abs(x) - length / 2, 0), y) - width

    def _paint(self, distance: Grid, colour: NDArray[np.float64]) -> None:
        """Lay colour (3,) or (S, S, 3) over the inside of a silhouette, its edge smoothed over a pixel."""
        cover = np.clip(0.5 - distance * (self.size / 2), 0, 1)[..., None]
        self.paper += cover * (colour - self.paper)

    def _colour_apart(self, *others: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the first of six random colours that is apart from others, or else the one that is most apart."""
        drawn = self.rng.random((6, 3))
        apart = np.min([np.abs((drawn - other) @ LUMINANCE) + np.abs(drawn - other).mean(1) for other in others], 0)
        return np.asarray(drawn[int(np.argmax(np.minimum(apart, 0.55)))])


def _turn(x: Grid, y: Grid, angle: float) -> tuple[Grid, Grid]:
    """Return coordinates turned about the origin."""
    sin, cos = np.sin(angle), np.cos(angle)
    return cos * x + sin * y, cos * y - sin * x

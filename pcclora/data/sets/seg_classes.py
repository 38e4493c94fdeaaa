"""Which class has which part: ``seg_classes.json`` of the PointNet family, or what ShapeNetPart itself declares.

A part's label is one number over all classes, as in the files. Yi et al., "A Scalable Active Framework for Region
Annotation in 3D Shape Collections" (SIGGRAPH Asia 2016) name the parts of ShapeNetPart informally; so do we.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pcclora.data.base import Parts
from pcclora.data.readers.class_lists import load_table
from pcclora.errors import PccloraError

SHAPENETPART = {
    "Airplane": ("body", "wing", "tail", "engine"),
    "Bag": ("handle", "body"),
    "Cap": ("crown", "peak"),
    "Car": ("roof", "hood", "wheel", "body"),
    "Chair": ("back", "seat", "leg", "arm"),
    "Earphone": ("earcup", "headband", "wire"),
    "Guitar": ("head", "neck", "body"),
    "Knife": ("blade", "handle"),
    "Lamp": ("base", "shade", "bracket", "stem"),
    "Laptop": ("keyboard", "screen"),
    "Motorbike": ("gas tank", "seat", "wheel", "handlebar", "light", "frame"),
    "Mug": ("handle", "cup"),
    "Pistol": ("barrel", "handle", "trigger"),
    "Rocket": ("body", "fin", "nose"),
    "Skateboard": ("wheel", "deck", "strap"),
    "Table": ("top", "leg", "drawer"),
}
"""Class -> its parts, in the order of their labels: Airplane 0-3, Bag 4-5, ... Table 47-49."""
MOST_PARTS = 10_000
"""Labels are below it: there is a name, and an output of the network, for each number up to the largest."""


def number_parts(named: Mapping[str, Sequence[str]]) -> Parts:
    """Number the named parts of classes one after the other, from 0.

    Args:
        named: Class -> names of its parts.
    """
    names: list[str] = []
    of_class: list[tuple[int, ...]] = []
    for class_name, parts in named.items():
        of_class.append(tuple(range(len(names), len(names) + len(parts))))
        names += [f"{class_name}: {part}" for part in parts]
    return Parts(tuple(names), tuple(of_class))


def shapenetpart_parts(class_names: Sequence[str]) -> Parts | None:
    """Return ShapeNetPart's 50 parts if these are its 16 classes in its order, else None."""
    return number_parts(SHAPENETPART) if tuple(class_names) == tuple(SHAPENETPART) else None


def read_seg_classes(path: Path) -> dict[str, tuple[int, ...]]:
    """Read ``{"Airplane": [0, 1, 2, 3], ...}``.

    Raises:
        PccloraError: If it is absent, damaged, or holds something else; if a class has a part twice, or one that is not
            in 0 to :data:`MOST_PARTS`.
    """
    content = load_table(path)
    plain = isinstance(content, dict) and all(
        isinstance(parts, list) and all(type(part) is int for part in parts) for parts in content.values()
    )
    if not plain:
        raise PccloraError(f'{path}: {{"class": [part labels], ...}} is expected')
    for name, parts in content.items():
        if len(set(parts)) < len(parts) or not all(0 <= part < MOST_PARTS for part in parts):
            raise PccloraError(
                f"{path}: class '{name}' has the parts {str(parts)[:80]}; different numbers from 0 to "
                f"{MOST_PARTS - 1:,} are expected"
            )
    return {name: tuple(sorted(parts)) for name, parts in content.items()}


def find_parts(class_names: Sequence[str], labels: Mapping[str, Sequence[int]], place: Path) -> Parts:
    """Return the parts of classes from their labels; those of ShapeNetPart get their names, others go by number.

    Args:
        class_names: In the order of the class labels.
        labels: Class -> part labels.
        place: Where they come from, for the message.

    Raises:
        PccloraError: If a class has none.
    """
    for name in class_names:
        if not labels.get(name):
            raise PccloraError(f"{place}: no parts of class '{name}'; it has {', '.join(labels) or 'none'}")
    of_class = tuple(tuple(labels[name]) for name in class_names)
    known = shapenetpart_parts(class_names)
    if known is not None and known.of_class == of_class:
        return known
    owner = {part: name for name, parts in zip(class_names, of_class, strict=True) for part in parts}
    return Parts(tuple(f"{owner.get(part, 'no class')}: part {part}" for part in range(max(owner) + 1)), of_class)

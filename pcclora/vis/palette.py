"""Colours that people with any common colour vision can tell apart (Okabe and Ito, 2008; the last three are ours).

Any two of ``PARTS`` are at least 14 apart in CIELAB to normal, protan, deutan and tritan eyes (Machado et al., 2009).
"""

import numpy as np
from numpy.typing import NDArray

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#F0E442", "#000000"
INDIGO, WINE, BROWN = "#332288", "#882255", "#704010"

CYCLE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, YELLOW)
"""Of lines, in the order in which they are used."""

PARTS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW, INDIGO, WINE, BROWN)
"""Of an object's parts, in the order in which they are used."""

WRONG, RIGHT = "#C8102E", "#C4C9CF"
"""Points that are predicted wrong, and right: apart in lightness too."""

SCALE = ("#35317A", "#28658F", "#1F9389", "#63BC5C", "#E3CF45")
"""From low to high: lightness rises evenly, so that every eye and a print in grey tell them apart."""

GREY = "#5A5A5A"
"""Axes, ticks and notes."""


def rgb(colour: str) -> NDArray[np.uint8]:
    """Return ``"#RRGGBB"`` as (3,) uint8."""
    return np.frombuffer(bytes.fromhex(colour.removeprefix("#")), np.uint8)


def scale_colours(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return the colour of numbers from 0 to 1 on :data:`SCALE`, (N, 3) uint8."""
    steps = np.stack([rgb(colour) for colour in SCALE]).T
    places = np.linspace(0, 1, len(SCALE))
    return np.stack([np.interp(values, places, channel) for channel in steps], axis=-1).round().astype(np.uint8)


def part_colours(count: int) -> NDArray[np.uint8]:
    """Return the colours of a category's parts, by their place in it.

    After ten parts the colours come again lighter, then darker, and after thirty the same again.

    Args:
        count: Number of parts P.

    Returns:
        (P, 3) uint8.
    """
    base = np.stack([rgb(colour) for colour in PARTS]).astype(np.float64)
    shades = np.concatenate([base, 0.5 * base + 127.5, 0.5 * base])
    return shades[np.arange(count) % len(shades)].round().astype(np.uint8)

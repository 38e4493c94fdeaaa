"""Colours that people with any common colour vision can tell apart (Okabe and Ito, 2008)."""

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#F0E442", "#000000"
CYCLE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, YELLOW)
"""In the order in which they are used."""

GREY = "#5A5A5A"
"""Axes, ticks and notes."""

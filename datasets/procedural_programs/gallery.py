#!/usr/bin/env python3
"""Draw objects of `procedural_programs`, a colour a node: `python datasets/procedural_programs/gallery.py out.png`."""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from pcclora.atomic import replacing
from pcclora.data import ProgramsConfig, ProgramsDataset
from pcclora.data.sets.programs.program import NODES
from pcclora.vis import render_cloud
from pcclora.vis.palette import part_colours


def main() -> None:
    """Parse, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path, help="the PNG to write")
    parser.add_argument("--columns", type=int, default=8, help="objects in a row, and rows (default: 8)")
    parser.add_argument("--first", type=int, default=0, help="the first object's index")
    parser.add_argument("--size", type=int, default=150, help="pixels of an object's side (default: 150)")
    arguments = parser.parse_args()
    count, dataset = arguments.columns, ProgramsDataset(ProgramsConfig(), split="train")
    colours = part_colours(NODES)
    pictures = []
    for index in range(arguments.first, arguments.first + count * count):
        sample = dataset[index]
        size = (arguments.size, arguments.size)
        pictures.append(render_cloud(sample.points, colours[sample.part_labels], size=size, renderer="splat"))
    grid = np.concatenate([np.concatenate(pictures[row::count], axis=0) for row in range(count)], axis=1)
    with replacing(arguments.target) as temporary:
        Image.fromarray(grid).quantize(128).save(temporary, format="PNG", optimize=True)


if __name__ == "__main__":
    main()

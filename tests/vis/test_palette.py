"""Parts of an object can be told apart by everyone."""

import numpy as np
import pytest

from pcclora.vis.palette import PARTS, RIGHT, WRONG, part_colours, rgb

SIMULATION = {  # Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(colours, eyes):
    """CIELAB, D65, of colours as somebody sees them."""
    x = np.array(colours) / 255
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(SIMULATION[eyes]).T, 0, 1)
    xyz = seen @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
    f = np.cbrt(xyz / [0.9505, 1, 1.089])
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize("eyes", SIMULATION)
def test_ten_parts_differ_to_all_eyes(eyes):
    seen = lab(part_colours(len(PARTS)), eyes)
    apart = np.linalg.norm(seen[:, None] - seen, axis=2) + 100 * np.eye(len(seen))
    assert apart.min() > 14


@pytest.mark.parametrize("eyes", SIMULATION)
def test_right_and_wrong_differ_to_all_eyes(eyes):
    right, wrong = lab([rgb(RIGHT), rgb(WRONG)], eyes)
    assert abs(right[0] - wrong[0]) > 25  # in lightness alone


def test_thirty_parts_have_thirty_colours():
    assert len(np.unique(part_colours(30), axis=0)) == 30
    np.testing.assert_array_equal(part_colours(31)[30], part_colours(1)[0])

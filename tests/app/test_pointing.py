"""What a click or a rectangle means: seen points alone, by a camera that is checked against viser's own mathematics."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pcclora.app.pointing import Eye, at_click, in_rectangle, visible_points

FORWARD = Eye(np.array([0.0, 0.0, -3.0]), np.array([1.0, 0, 0, 0]), np.radians(60), 1.5)
"""Looks along z from three in front of the origin; x is right, y down."""


def sheet(depth: float, count: int = 60) -> np.ndarray:
    """A square of 2 by 2 across the view."""
    x, y = np.meshgrid(np.linspace(-1, 1, count), np.linspace(-1, 1, count))
    return np.stack([x.ravel(), y.ravel(), np.full(count**2, depth)], 1).astype(np.float32)


def test_the_middle_is_the_middle_and_the_edges_are_the_field_of_view():
    half = 3 * np.tan(np.radians(30))
    places, depth = FORWARD.project(np.array([[0, 0, 0], [1.5 * half, -half, 0]], np.float32))
    assert places == pytest.approx(np.array([[0.5, 0.5], [1.0, 0.0]]), abs=1e-6)
    assert depth == pytest.approx([3, 3])


def test_what_is_behind_is_nowhere():
    places, depth = FORWARD.project(np.array([[0, 0, -4]], np.float32))
    assert depth[0] < 0 and not np.isfinite(places).any()
    assert not visible_points(FORWARD, np.array([[0, 0, -4]], np.float32), 0.1).any()


def test_a_turned_camera_sees_the_turned_scene_as_before():
    turn = Rotation.from_euler("xyz", [20, -70, 35], degrees=True)
    cloud = sheet(0.0)
    eye = Eye(turn.apply(FORWARD.position), turn.as_quat(scalar_first=True), FORWARD.fov, FORWARD.aspect)
    assert eye.project(turn.apply(cloud))[0] == pytest.approx(FORWARD.project(cloud)[0], abs=1e-6)


@pytest.mark.parametrize("spacing", [2 / 59])
def test_a_surface_hides_what_is_behind_it_and_not_itself(spacing):
    front, back = sheet(0.0), sheet(1.0)
    back[:, :2] *= 0.6  # wholly behind the front
    seen = visible_points(FORWARD, np.concatenate([front, back]), spacing)
    assert seen[: len(front)].mean() > 0.999
    assert seen[len(front) :].mean() < 0.001


def test_what_stands_beside_a_surface_is_seen():
    front, beside = sheet(0.0), sheet(1.0)
    beside[:, 0] = beside[:, 0] * 0.2 + 2.2
    assert visible_points(FORWARD, np.concatenate([front, beside]), 2 / 59)[len(front) :].all()


def test_a_rectangle_takes_the_front_alone():
    front, back = sheet(0.0), sheet(1.0)
    chosen = in_rectangle(FORWARD, np.concatenate([front, back]), 2 / 59, (0.45, 0.45), (0.55, 0.55))
    places, _ = FORWARD.project(front)
    assert np.array_equal(chosen[: len(front)], (np.abs(places - 0.5) <= 0.05).all(axis=1))
    assert chosen[: len(front)].sum() > 20 and not chosen[len(front) :].any()


def test_a_click_takes_the_foremost_and_nothing_far_from_all():
    cloud = np.array([[0, 0, 0], [0, 0, 1], [0.01, 0, 1]], np.float32)
    assert at_click(FORWARD, cloud, (0.5, 0.5)) == 0
    assert at_click(FORWARD, cloud, (0.8, 0.5)) is None

"""Pictures of clouds: what is in front is seen, nothing is cut off, both renderers give the same picture."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pcclora.data import AXES, turn_upright
from pcclora.errors import PccloraError
from pcclora.vis import Camera, render_cloud, views_of
from pcclora.vis.open3d_import import APT_LINE, import_open3d
from pcclora.vis.palette import BLUE, ORANGE, rgb

FRONT = Camera(azimuth=0.0, elevation=0.0)


def white(picture):
    return (picture == 255).all(axis=2)


def one_colour(points, colour=BLUE):
    return np.tile(rgb(colour), (len(points), 1))


def test_both_renderers_give_the_same_picture(open3d, chair):
    colours = views_of(chair)["prediction"].colours
    a, b = (render_cloud(chair.points, colours, size=(240, 200), renderer=r) for r in ("open3d", "splat"))
    assert np.abs(a.astype(int) - b).mean() < 5  # of 255: edges of discs differ by half a pixel
    assert (white(a) == white(b)).mean() > 0.97


def test_what_is_nearer_hides_what_is_behind():
    """A wall seen from its front and, turned by half a circle, from behind another."""
    across = np.linspace(-1, 1, 40)
    x, y, z = np.meshgrid(across, across, [0.3, -0.3], indexing="ij")
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    colours = np.where(points[:, 2:] > 0, rgb(BLUE), rgb(ORANGE))
    for azimuth, expected in ((0, BLUE), (180, ORANGE)):
        camera = Camera(azimuth=azimuth, elevation=0)
        picture = render_cloud(points, colours, size=(120, 120), camera=camera, radius=3, renderer="splat")
        middle = np.median(picture[50:70, 50:70].reshape(-1, 3), axis=0)
        other = ORANGE if expected == BLUE else BLUE
        assert np.abs(middle - rgb(expected)).sum() < np.abs(middle - rgb(other)).sum() / 3


def test_up_is_up_and_right_is_right():
    """Seen along -z with y up: x to the right. With z up, seen along y: x to the right. With x up, along -z: -y."""
    seen_right_and_above = {"y": ([2, 0, 0], [0, 1, 0]), "z": ([2, 0, 0], [0, 0, 1]), "x": ([0, -2, 0], [1, 0, 0])}
    for up, (right, above) in seen_right_and_above.items():
        points = np.array([[0, 0, 0], right, above], float)
        camera = Camera(azimuth=0, elevation=0, up=up)
        seen = camera.place(points, (200, 200))
        origin, right, above = seen[:, :2] / seen[:, 2:]
        assert right[0] > origin[0] + 0.1 and right[1] == pytest.approx(origin[1])
        assert above[1] < origin[1] - 0.1 and above[0] == pytest.approx(origin[0])
        assert (right - origin)[0] == pytest.approx(2 * (origin - above)[1])  # equal axes


@pytest.mark.parametrize("up", AXES)
def test_a_cloud_is_seen_as_the_upright_one_that_a_model_gets(up):
    cloud = np.random.default_rng(0).normal(size=(50, 3)) * [1, 2, 3]
    seen = Camera(up=up).place(cloud, (200, 150))
    np.testing.assert_allclose(seen, Camera().place(turn_upright(cloud, up), (200, 150)), atol=1e-12)


@settings(max_examples=40)
@given(
    arrays(np.float64, st.tuples(st.integers(1, 30), st.just(3)), elements=st.floats(-1e3, 1e3, width=32)),
    st.sampled_from([(200, 150), (90, 300)]),
    st.floats(-180, 180),
    st.floats(-89, 89),
)
def test_every_point_is_inside_the_frame(points, size, azimuth, elevation):
    for camera in (Camera(azimuth=azimuth, elevation=elevation), Camera(up="z"), Camera(up="x")):
        seen = camera.place(points, size)
        assert (seen[:, 2] > 0).all()
        at = seen[:, :2] / seen[:, 2:] * camera.focal(size)
        assert (np.abs(at) <= np.array(size) / 2).all()


def test_map_coordinates_and_any_scale_give_the_same_picture(chair):
    colours = one_colour(chair.points)
    here = render_cloud(chair.points, colours, size=(160, 120), renderer="splat")
    there = chair.points.astype(np.float64) * 1000 + [450_000, 5_400_000, 120]
    assert np.abs(render_cloud(there, colours, size=(160, 120), renderer="splat").astype(int) - here).mean() < 1


def test_a_longer_object_is_not_seen_edge_on():
    """A bar along each horizontal direction is as wide in the picture as any other."""
    widths = []
    for angle in np.radians(range(0, 180, 30)):
        bar = np.linspace(-1, 1, 50)[:, None] * [np.cos(angle), 0, np.sin(angle)]
        seen = Camera().place(bar, (200, 200))
        widths.append(np.ptp(seen[:, 0]))
    np.testing.assert_allclose(widths, 2 * np.cos(np.radians(35)), rtol=1e-6)


@pytest.mark.parametrize("points", [1, 2, 5000])
def test_a_cloud_of_any_number_of_points_has_ink(points):
    cloud = np.random.default_rng(0).normal(size=(points, 3))
    picture = render_cloud(cloud, one_colour(cloud), size=(100, 80), renderer="splat")
    assert picture.shape == (80, 100, 3) and 3 < (~white(picture)).sum() < 100 * 80


@pytest.mark.parametrize(
    ("points", "options", "words"),
    [
        (np.empty((0, 3)), {}, "at least one point"),
        (np.array([[0, np.nan, 0]]), {}, "NaN or infinite"),
        (np.zeros((4, 3)), {"renderer": "vulkan"}, "renderer is 'vulkan'; auto, open3d, splat"),
    ],
)
def test_what_cannot_be_drawn_is_refused(points, options, words):
    with pytest.raises(PccloraError, match=words):
        render_cloud(points, np.zeros_like(points, dtype=np.uint8), **options)


def test_colours_of_other_points_are_refused():
    with pytest.raises(PccloraError, match="one r, g, b a point"):
        render_cloud(np.zeros((4, 3)), np.zeros((5, 3), np.uint8))


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ModuleNotFoundError("No module named 'open3d'"), "pip install 'pcclora[vis]'"),
        (ImportError("libusb-1.0.so.0: cannot open shared object file"), APT_LINE),
        (OSError("libGL.so.1: cannot open shared object file"), APT_LINE),
    ],
)
def test_a_missing_open3d_gives_the_line_that_installs_it(monkeypatch, chair, error, line):
    def fail(name):
        raise error

    monkeypatch.setattr("importlib.import_module", fail)
    with pytest.raises(PccloraError) as raised:
        import_open3d()
    assert line in str(raised.value)
    with pytest.raises(PccloraError):
        render_cloud(chair.points, one_colour(chair.points), renderer="open3d")
    without = render_cloud(chair.points, one_colour(chair.points), size=(80, 60))
    np.testing.assert_array_equal(
        without, render_cloud(chair.points, one_colour(chair.points), size=(80, 60), renderer="splat")
    )

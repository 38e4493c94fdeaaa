"""PLY files, read back by trimesh, Open3D and our own reader."""

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from pcclora.data import read_scan
from pcclora.errors import PccloraError
from pcclora.runs.segmented import SegmentedCloud
from pcclora.vis.ply import write_ply
from pcclora.vis.views import views_of

N = 500


@pytest.fixture
def cloud() -> SegmentedCloud:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 1, 1], N).astype(np.float32)
    return SegmentedCloud(
        points=rng.normal(size=(N, 3)).astype(np.float32),
        category="mug",
        part_names=("cap: brim", "mug: cup", "mug: handle", "mug: two\nlines é"),
        parts=(1, 2, 3),
        truth=rng.integers(1, 4, N),
        prediction=1 + probabilities.argmax(axis=1),
        probabilities=probabilities,
        colors=rng.integers(0, 256, (N, 3)).astype(np.uint8),
    )


def test_trimesh_reads_every_value_in_the_same_order(cloud, tmp_path):
    write_ply(cloud, tmp_path / "mug.ply")
    read = trimesh.load(tmp_path / "mug.ply")
    np.testing.assert_array_equal(read.vertices, cloud.points)
    np.testing.assert_array_equal(read.colors[:, :3], views_of(cloud)["prediction"].colours)
    values = read.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_array_equal(values["scalar_label"], cloud.prediction - 1)
    np.testing.assert_array_equal(values["scalar_true_label"], cloud.truth - 1)
    for name in ("quality", "scalar_probability"):
        np.testing.assert_array_equal(values[name], cloud.probabilities.max(axis=1))
    scan = np.stack([values[f"scan_{name}"] for name in ("red", "green", "blue")], axis=1)
    np.testing.assert_array_equal(scan, cloud.colors)


def test_open3d_reads_it(cloud, tmp_path):
    open3d = pytest.importorskip("open3d", exc_type=ImportError)
    write_ply(cloud, tmp_path / "mug.ply")
    read = open3d.t.io.read_point_cloud(str(tmp_path / "mug.ply")).point
    np.testing.assert_array_equal(read["positions"].numpy(), cloud.points)
    np.testing.assert_array_equal(read["colors"].numpy(), views_of(cloud)["prediction"].colours)
    np.testing.assert_array_equal(read["scalar_label"].numpy()[:, 0], cloud.prediction - 1)


def test_a_prediction_can_be_corrected_and_learned_from(cloud, tmp_path):
    """What is written is what a folder of labelled clouds reads: labels within the category."""
    write_ply(cloud, tmp_path / "mug.ply")
    scan = read_scan(tmp_path / "mug.ply")
    np.testing.assert_array_equal(scan.labels, cloud.prediction - 1)
    np.testing.assert_array_equal(scan.points, cloud.points)


def test_without_prediction_the_label_is_the_true_one(cloud, tmp_path):
    write_ply(replace(cloud, prediction=None, probabilities=None, colors=None), tmp_path / "mug.ply")
    header = (tmp_path / "mug.ply").read_bytes().split(b"end_header")[0].decode()
    assert [line.split()[-1] for line in header.splitlines() if line.startswith("property")] == [
        *("x", "y", "z", "red", "green", "blue", "scalar_label")
    ]
    np.testing.assert_array_equal(read_scan(tmp_path / "mug.ply").labels, cloud.truth - 1)


@pytest.mark.parametrize(("offset", "kind"), [(0.0, "float"), (4.5e6, "double")])
def test_coordinates_are_as_precise_as_they_must_be(cloud, tmp_path, offset, kind):
    points = cloud.points.astype(np.float64) + offset
    write_ply(replace(cloud, points=points), tmp_path / "mug.ply")
    assert f"property {kind} x\n".encode() in (tmp_path / "mug.ply").read_bytes()
    np.testing.assert_array_equal(trimesh.load(tmp_path / "mug.ply").vertices, points)


def test_the_header_names_the_parts_in_one_line_each(cloud, tmp_path):
    write_ply(cloud, tmp_path / "mug.ply")
    header = (tmp_path / "mug.ply").read_bytes().split(b"end_header\n")[0].decode()
    told = [line.split(" ", 2)[2] for line in header.splitlines() if line.startswith("comment label")]
    colours = ["#{:02x}{:02x}{:02x}".format(*colour) for _, colour in views_of(cloud)["prediction"].legend]
    names = ["cup", "handle", r"two\nlines é"]
    assert told == [f"{label} {colours[label]} {name}" for label, name in enumerate(names)]


def test_without_labels_nothing_is_written(cloud, tmp_path):
    with pytest.raises(PccloraError, match="no part labels"):
        write_ply(replace(cloud, truth=None, prediction=None), tmp_path / "mug.ply")
    assert not list(tmp_path.iterdir())

import io
import warnings

import laspy
import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pypcd4 import Encoding, PointCloud

from pcclora.data import read_points, read_scan
from pcclora.data.readers import READERS
from pcclora.errors import PccloraError

POINTS = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
ON_DISK = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FINITE = hnp.arrays(np.float32, st.tuples(st.integers(1, 20), st.just(3)), elements=st.floats(-1e6, 1e6, width=32))


def write(path, points):
    """Write a cloud in the format of the suffix, with other programs than those under test where there are any."""
    kind = path.name.split(".", 1)[1]
    if kind in ("ply", "ascii.ply"):
        encoding = "ascii" if kind == "ascii.ply" else "binary"
        path.write_bytes(trimesh.PointCloud(points).export(file_type="ply", encoding=encoding))
    elif kind.endswith("pcd"):
        PointCloud.from_xyz_points(points).save(path, encoding=Encoding(kind.split(".")[0]))
    elif kind == "las":
        header = laspy.LasHeader(point_format=0, version="1.2")
        header.scales, header.offsets = np.full(3, 1e-4), points.min(axis=0).astype(np.float64)
        las = laspy.LasData(header)
        las.xyz = points
        las.write(path)
    elif kind == "npy":
        np.save(path, points)
    elif kind == "npz":
        np.savez_compressed(path, points=points, label=3)
    elif kind == "csv.txt":
        np.savetxt(path, np.hstack([points, points]), fmt="%.9g", delimiter=",", header="x y z")
    else:
        path.write_text("X Y Z\n" + "\n".join(" ".join(f"{x:.9g}" for x in row) for row in points) + "\n")


KINDS = ["ply", "ascii.ply", "ascii.pcd", "binary.pcd", "binary_compressed.pcd", "las", "npy", "npz", "csv.txt", "xyz"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_cloud_comes_back(kind, tmp_path):
    @ON_DISK
    @given(FINITE)
    def check(points):
        if kind == "las":
            points = points / 100  # LAS stores whole multiples of a scale in 32 bits
        path = tmp_path / f"cloud.{kind}"
        write(path, points)
        read = read_points(path)
        assert read.dtype == np.float64
        np.testing.assert_allclose(read, points, rtol=1e-5, atol=1e-4 if kind == "las" else 1e-6)

    check()


@pytest.mark.parametrize("suffix", ["ply", "off", "obj", "stl"])
def test_a_mesh_is_sampled_on_its_surface_the_same_each_time(suffix, tmp_path):
    mesh = trimesh.creation.box(extents=(1, 2, 4))
    path = tmp_path / f"box.{suffix}"
    mesh.export(path)
    points = read_points(path, mesh_points=4000)
    np.testing.assert_array_equal(points, read_points(path, mesh_points=4000))
    assert points.shape == (4000, 3)
    on_face = np.isclose(np.abs(points), (0.5, 1, 2), atol=1e-6)
    assert on_face.any(axis=1).all()
    shares = np.bincount(on_face.argmax(axis=1), minlength=3) / 4000  # faces 2x4, 1x4, 1x2 of 28 in pairs
    np.testing.assert_allclose(shares, [16 / 28, 8 / 28, 4 / 28], atol=0.03)
    same = trimesh.load(path, process=False)
    np.testing.assert_array_equal(points, trimesh.sample.sample_surface(same, 4000, seed=0)[0])


def test_off_headers_of_modelnet_are_read(tmp_path):
    # Many files of the original ModelNet40 have the counts on the line of the magic word.
    path = tmp_path / "bad.off"
    path.write_text("OFF4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n")
    assert read_points(path, mesh_points=10).shape == (10, 3)


def test_large_map_coordinates_keep_their_detail(tmp_path):
    far = POINTS.astype(np.float64) + np.array([4_500_000.0, 300.0, 5_400_000.0])
    np.save(tmp_path / "far.npy", far)
    np.testing.assert_allclose(read_points(tmp_path / "far.npy") - far.mean(0), far - far.mean(0), atol=1e-9)


HEADS = [
    b"",
    b"ply\nformat ascii 1.0\n",
    b"ply\nformat binary_little_endian 1.0\nelement vertex 9\n"
    b"property float x\nproperty float y\nproperty float z\nend_header\n",
    b"OFF\n",
    b"v 1 2 3\nf 1 1 1\n",
    b"LASF",
    b"\x93NUMPY\x01\x00",
    b"PK\x03\x04",
    b"VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 3\nHEIGHT 1\nPOINTS 3\nDATA binary\n",
]


@pytest.mark.parametrize("suffix", sorted(READERS))
def test_arbitrary_bytes_raise_nothing_but_our_error(suffix, tmp_path):
    @ON_DISK
    @given(st.sampled_from(HEADS), st.binary(max_size=200))
    def check(head, tail):
        path = tmp_path / f"noise{suffix}"
        path.write_bytes(head + tail)
        try:
            points = read_points(path, mesh_points=16)
        except PccloraError as error:
            assert str(path) in str(error)
        else:
            assert points.ndim == 2 and points.shape[1] == 3 and np.isfinite(points).all()

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_anywhere_is_refused(kind, tmp_path):
    whole = tmp_path / f"whole.{kind}"
    write(whole, POINTS)
    content = whole.read_bytes()
    text = kind.startswith("ascii") or kind in ("csv.txt", "xyz")
    last = max(content.rstrip().rfind(mark) for mark in b" ,") if text else len(content) - 1  # the last whole number

    @ON_DISK
    @given(st.integers(0, last))
    def check(length):
        path = tmp_path / f"cut.{kind}"
        path.write_bytes(content[:length])
        try:
            points = read_points(path)
        except PccloraError:
            return
        # Plain text does not say how long it is: a cut at the end of a row cannot be seen.
        assert kind in ("csv.txt", "xyz") and len(points) < len(POINTS)

    check()


@pytest.mark.parametrize("kind", ["ply", "ascii.ply", "off", "stl", "ascii.stl"])
def test_a_mesh_cut_anywhere_is_refused(kind, tmp_path):
    options = {"encoding": "ascii"} if kind == "ascii.ply" else {}
    whole = trimesh.creation.box().export(file_type="stl_ascii" if kind == "ascii.stl" else kind[-3:], **options)
    content = whole.encode() if isinstance(whole, str) else whole
    last = len(content) - 1 if kind in ("ply", "stl") else content.rstrip().rfind(b" ")

    @ON_DISK
    @given(st.integers(0, last))
    def check(length):
        path = tmp_path / f"cut.{kind}"
        path.write_bytes(content[:length])
        with pytest.raises(PccloraError):
            read_points(path)

    check()


def test_text_accepts_what_programs_write(tmp_path):
    path = tmp_path / "cloud.txt"
    for text in (
        "1 2 3\n4 5 6\n",
        "1,2,3,0,0,1\n4,5,6,0,0,1\n",
        "1;2;3\n4;5;6",
        "//X Y Z\n1\t2\t3\n4\t5\t6\n",
        "2\n\n1 2 3\n4 5 6\n",
    ):
        path.write_text(text)
        np.testing.assert_array_equal(read_points(path), [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"1 2\n3 4\n", "three numbers"),
        ("a.txt", b"1 2 3\n4 5\n", "damaged"),
        ("a.txt", b"nan 2 3\n4 nan 6\n", "all 2 points are NaN or infinite"),
        ("a.xyz", b"1 2 -inf\n", "NaN or infinite"),
        ("a.txt", b"<!DOCTYPE html>\n<html>\n", "web page"),
        ("a.ply", b"<html>404</html>", "web page"),
        ("a.ply", b"version https://git-lfs.github.com/spec/v1\n", "git-lfs pointer"),
        ("a.pcd", b"", "empty"),
        ("a.stp", b"", "unknown format '.stp'; known: .asc, .bin, .csv, .glb, .gltf, .las, .laz, .npy, .npz, .obj"),
    ],
)
def test_damage_is_named(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(PccloraError, match=message) as caught:
        read_points(path)
    assert str(path) in str(caught.value)


def test_shapes_that_are_no_cloud_are_refused(tmp_path):
    for array in (np.zeros((3,)), np.zeros((5, 2)), np.zeros((0, 3)), np.zeros((2, 4, 3)), np.array([["a", "b", "c"]])):
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(PccloraError, match="points must be"):
            read_points(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", left=POINTS, right=POINTS)
    with pytest.raises(PccloraError, match="call that array 'points'"):
        read_points(tmp_path / "a.npz")


def test_an_npy_that_is_a_pickle_is_not_run(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.array([print], dtype=object), allow_pickle=True)
    (tmp_path / "a.npy").write_bytes(buffer.getvalue())
    with pytest.raises(PccloraError, match="a.npy"):
        read_points(tmp_path / "a.npy")


def test_missing_file(tmp_path):
    with pytest.raises(PccloraError, match="no such file"):
        read_points(tmp_path / "nowhere.ply")


def test_reading_warns_of_nothing(tmp_path):
    np.save(tmp_path / "a.npy", POINTS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_points(tmp_path / "a.npy")


COLORS = np.random.default_rng(1).integers(0, 256, size=POINTS.shape).astype(np.uint8)
LABELS = np.arange(len(POINTS)) % 4


def write_labelled(path):
    """Write points, colours and labels as the programs do that users have."""
    kind = path.name.split(".", 1)[1]
    if kind.endswith("ply"):
        import open3d.core as core
        from open3d.t.geometry import PointCloud as Tensors
        from open3d.t.io import write_point_cloud

        cloud = Tensors(core.Tensor(POINTS))
        cloud.point.colors, cloud.point.label = core.Tensor(COLORS), core.Tensor(LABELS[:, None].astype(np.int32))
        write_point_cloud(str(path), cloud, write_ascii=kind == "ascii.ply")
    elif kind.endswith("pcd"):
        rgb = PointCloud.encode_rgb(COLORS).reshape(-1)
        if kind == "ascii.pcd":
            rgb = rgb.view(np.uint32)  # as PCL does: the bits of a colour are a tiny float, and text loses it
        types = (np.float32,) * 3 + (rgb.dtype, np.uint32)
        columns = (*POINTS.T, rgb, LABELS.astype(np.uint32))
        cloud = PointCloud.from_points(columns, ("x", "y", "z", "rgb", "label"), types)
        cloud.save(path, encoding=Encoding(kind.split(".")[0]))
    elif kind == "las":
        header = laspy.LasHeader(point_format=2, version="1.2")
        header.scales = np.full(3, 1e-7)
        header.add_extra_dim(laspy.ExtraBytesParams("Label", np.uint8))
        las = laspy.LasData(header)
        las.xyz, las.Label = POINTS, LABELS
        las.red, las.green, las.blue = COLORS.T.astype(np.uint16) * 257
        las.write(path)
    elif kind == "npz":
        np.savez(path, points=POINTS, colors=COLORS, part_labels=LABELS)
    else:
        table = np.column_stack([POINTS, COLORS, LABELS])
        np.save(path, table) if kind == "npy" else np.savetxt(path, table, fmt="%.9g")


@pytest.mark.parametrize("kind", ["ply", "ascii.ply", "ascii.pcd", "binary.pcd", "las", "npy", "npz", "txt"])
def test_colours_and_labels_come_back_in_order(kind, tmp_path):
    if kind.endswith("ply"):
        pytest.importorskip("open3d")
    path = tmp_path / f"scan.{kind}"
    write_labelled(path)
    scan = read_scan(path)
    np.testing.assert_allclose(scan.points, POINTS, atol=1e-5)
    np.testing.assert_array_equal(scan.colors, COLORS)
    np.testing.assert_array_equal(scan.labels, LABELS)
    assert scan.colors.dtype == np.uint8 and scan.labels.dtype == np.int64


@pytest.mark.parametrize("name", ["label", "scalar_Label", "part", "Class"])
def test_a_ply_label_goes_by_several_names_and_types(name, tmp_path):
    header = "ply\nformat ascii 1.0\nelement vertex 2\nproperty double x\nproperty double y\nproperty double z\n"
    path = tmp_path / "a.ply"
    path.write_text(
        f"{header}property float {name}\nproperty float quality\nend_header\n4500000.25 0 0 3 7\n1 2 3 1 7\n"
    )
    scan = read_scan(path)
    assert scan.labels.tolist() == [3, 1] and scan.points[0, 0] == 4500000.25 and scan.colors is None


def test_the_vertices_of_a_labelled_mesh_are_its_points(tmp_path):
    mesh = trimesh.creation.box()
    mesh.vertex_attributes["label"] = np.arange(8, dtype=np.int32)
    (tmp_path / "box.ply").write_bytes(trimesh.exchange.ply.export_ply(mesh))
    scan = read_scan(tmp_path / "box.ply")
    assert scan.labels.tolist() == list(range(8)) and len(scan.points) == 8


@pytest.mark.parametrize(
    ("columns", "colors", "labels"),
    [
        ([[0, 0, 0.5]], None, None),
        ([[0, 0, 0, 0.5]], None, None),  # an intensity
        ([[0, 0, 0, 2]], None, [2]),
        ([[0, 0, 0, 0, 0, 1]], None, None),  # a normal
        ([[0, 0, 0, 10, 0, 255]], [[10, 0, 255]], None),
        ([[0, 0, 0, 0.6, 0, 0.8, 3]], None, [3]),
        ([[0, 0, 0, 9, 9, 9, 0, 0, 1, 3]], [[9, 9, 9]], [3]),
        ([[0, 0, 0, 9, 9, 9, -1]], [[9, 9, 9]], None),
        ([[0, 0, 0, 9, 9, 300]], None, None),
    ],
)
def test_columns_are_understood_by_what_they_hold(columns, colors, labels, tmp_path):
    np.save(tmp_path / "a.npy", np.array(columns, dtype=np.float64))
    scan = read_scan(tmp_path / "a.npy")
    assert (None if scan.colors is None else scan.colors.tolist()) == colors
    assert (None if scan.labels is None else scan.labels.tolist()) == labels


def test_as_many_labels_as_points_are_needed(tmp_path):
    np.savez(tmp_path / "a.npz", points=POINTS, label=LABELS[:-1])
    with pytest.raises(PccloraError, match="49 labels for 50 points"):
        read_scan(tmp_path / "a.npz")

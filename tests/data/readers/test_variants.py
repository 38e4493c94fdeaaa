"""Variants of formats that programs write beside the letter of them: none may lose a point, a face or a colour."""

import base64
import json
import struct

import numpy as np
import pytest
import trimesh

from pcclora.data import read_points, read_scan
from pcclora.errors import PccloraError

CORNERS = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0, 0]]
FACES = [[0, 1, 2, 3], [1, 4, 2]]
TRIANGLES = [[0, 1, 2], [0, 2, 3], [1, 4, 2]]
MARK = b"\xef\xbb\xbf"


@pytest.fixture
def sampled(tmp_path):
    """What a second library's stl of the triangles gives."""
    trimesh.Trimesh(CORNERS, TRIANGLES, process=False).export(tmp_path / "right.stl")
    return read_points(tmp_path / "right.stl", mesh_points=200)


def ply(order, *, name="vertex_indices", rows=FACES, element="face", kind="int"):
    """Return a ply of both byte orders or text; rows are lists of corners."""
    encoding = {"": "ascii", "<": "binary_little_endian", ">": "binary_big_endian"}[order]
    head = f"ply\nformat {encoding} 1.0\nelement vertex 5\nproperty {kind} x\nproperty {kind} y\nproperty {kind} z\n"
    head += f"element {element} {len(rows)}\nproperty list int int {name}\nend_header\n"
    if not order:
        lists = [[len(row), *row] for row in rows]
        return (head + "".join(" ".join(map(str, row)) + "\n" for row in [*CORNERS, *lists])).encode()
    body = b"".join(struct.pack(f"{order}3i", *corner) for corner in CORNERS)
    return head.encode() + body + b"".join(struct.pack(f"{order}{len(row) + 1}i", len(row), *row) for row in rows)


@pytest.mark.parametrize("order", ["", "<", ">"])
def test_the_faces_of_a_ply_go_by_several_names(order, sampled, tmp_path):
    for name in ("vertex_index", "Vertex_Indices", "vertices"):
        (tmp_path / "a.ply").write_bytes(ply(order, name=name))
        np.testing.assert_allclose(read_points(tmp_path / "a.ply", mesh_points=200), sampled)
    (tmp_path / "a.ply").write_bytes(ply(order, element="faces"))
    np.testing.assert_allclose(read_points(tmp_path / "a.ply", mesh_points=200), sampled)


@pytest.mark.parametrize("order", ["", "<", ">"])
@pytest.mark.parametrize("rows", [[[0, 1, 2, -1, 0, 2, 3, -1, 1, 4, 2]], [[0, 1, 2], [0, 2, 3], [], [1, 4, 2, -1]]])
def test_strips_of_a_ply_are_its_surface(order, rows, sampled, tmp_path):
    (tmp_path / "a.ply").write_bytes(ply(order, element="tristrips", rows=rows))
    np.testing.assert_allclose(read_points(tmp_path / "a.ply", mesh_points=200), sampled)
    (tmp_path / "a.ply").write_bytes(ply(order, element="tristrips", rows=[[1, 0, 2, 3]]))  # 1 0 2, and 0 2 3
    trimesh.Trimesh(CORNERS, [[1, 0, 2], [0, 2, 3]], process=False).export(tmp_path / "b.stl")
    right = read_points(tmp_path / "b.stl", mesh_points=100)
    np.testing.assert_allclose(read_points(tmp_path / "a.ply", mesh_points=100), right)
    (tmp_path / "a.ply").write_bytes(ply(order, element="tristrips", rows=[[1, 0, 5]]))
    with pytest.raises(PccloraError, match="a face names vertex 5 of 5"):
        read_points(tmp_path / "a.ply")


def test_capitals_in_the_header_of_a_ply(sampled, tmp_path):
    (tmp_path / "a.ply").write_bytes(ply("", kind="Float").replace(b"ply", b"PLY", 1))
    np.testing.assert_allclose(read_points(tmp_path / "a.ply", mesh_points=200), sampled)


def obj(v="v", f="f"):
    rows = [f"{v} {x} {y} {z}" for x, y, z in CORNERS]
    return "\n".join([*rows, *(" ".join([f, *(str(i + 1) for i in face)]) for face in FACES)])


def off(magic="OFF"):
    rows = [*CORNERS, *([len(face), *face] for face in FACES)]
    return "\n".join([magic, "5 2 0", *(" ".join(map(str, row)) for row in rows)])


@pytest.mark.parametrize(("v", "f"), [("V", "F"), ("v", "fo")])
def test_faces_of_an_obj_in_capitals_and_of_its_first_version(v, f, sampled, tmp_path):
    (tmp_path / "a.obj").write_text(obj(v, f))
    np.testing.assert_allclose(read_points(tmp_path / "a.obj", mesh_points=200), sampled)


def test_an_off_in_small_letters(sampled, tmp_path):
    (tmp_path / "a.off").write_text(off("off"))
    np.testing.assert_allclose(read_points(tmp_path / "a.off", mesh_points=200), sampled)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_meshes_that_an_editor_of_windows_has_saved(encoding, sampled, tmp_path):
    for name, text in (("a.obj", obj()), ("a.off", off())):
        (tmp_path / name).write_text(text, encoding=encoding)
        np.testing.assert_allclose(read_points(tmp_path / name, mesh_points=200), sampled)
    (tmp_path / "cloud.obj").write_text("v 1 2 3\nv 4 5 6\n", encoding=encoding)
    np.testing.assert_array_equal(read_points(tmp_path / "cloud.obj"), [[1, 2, 3], [4, 5, 6]])


def test_a_byte_order_mark_before_a_header(sampled, tmp_path):
    (tmp_path / "a.ply").write_bytes(MARK + ply(""))
    stl = trimesh.Trimesh(CORNERS, TRIANGLES, process=False).export(file_type="stl_ascii")
    (tmp_path / "a.stl").write_bytes(MARK + stl.encode())
    for name in ("a.ply", "a.stl"):
        np.testing.assert_allclose(read_points(tmp_path / name, mesh_points=200), sampled)
    pcd = b"VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH 1\nHEIGHT 1\nDATA ascii\n1 2 3\n"
    (tmp_path / "a.pcd").write_bytes(MARK + pcd)
    np.testing.assert_array_equal(read_points(tmp_path / "a.pcd"), [[1, 2, 3]])


def test_dark_colours_of_whole_numbers_are_no_fractions(tmp_path):
    (tmp_path / "a.pcd").write_text(
        "FIELDS x y z r g b\nSIZE 4 4 4 1 1 1\nTYPE F F F U U U\nWIDTH 1\nHEIGHT 1\nDATA ascii\n1 2 3 1 0 1\n"
    )
    (tmp_path / "a.off").write_text("COFF\n1 0 0\n1 2 3 1 0 1 255\n")
    for name in ("a.pcd", "a.off"):
        np.testing.assert_array_equal(read_scan(tmp_path / name).colors, [[1, 0, 1]])
    (tmp_path / "a.off").write_text("COFF\n1 0 0\n1 2 3 1 0 1 1\n")
    np.testing.assert_array_equal(read_scan(tmp_path / "a.off").colors, [[255, 0, 255]])


CLOUD = np.random.default_rng(0).normal(size=(40, 3))


@pytest.mark.parametrize("shape", [(4, 40), (5, 2048), (7, 1024), (9, 12), (480, 640), (2, 4, 40)])
def test_other_arrays_with_more_columns_than_rows_are_no_points(shape, tmp_path):
    np.save(tmp_path / "a.npy", np.ones(shape))
    with pytest.raises(PccloraError, match=r"is channels first, .*or no table of points"):
        read_points(tmp_path / "a.npy")


def test_a_batch_of_one_cloud_is_that_cloud(tmp_path):
    np.save(tmp_path / "a.npy", CLOUD[None])
    np.savez(tmp_path / "a.npz", points=CLOUD[None], label=np.arange(40)[None] % 3)
    for name in ("a.npy", "a.npz"):
        np.testing.assert_array_equal(read_points(tmp_path / name), CLOUD)
    assert read_scan(tmp_path / "a.npz").labels.tolist() == (np.arange(40) % 3).tolist()
    np.save(tmp_path / "a.npy", CLOUD.T[None])
    with pytest.raises(PccloraError, match="channels first"):
        read_points(tmp_path / "a.npy")


def test_arrays_of_an_npz_are_named_in_any_case(tmp_path):
    np.savez(tmp_path / "a.npz", Coords=CLOUD, Label=np.zeros(40, int), Colors=np.full((40, 3), 7))
    scan = read_scan(tmp_path / "a.npz")
    np.testing.assert_array_equal(scan.points, CLOUD)
    assert scan.labels.tolist() == [0] * 40 and (scan.colors == 7).all()


def test_a_short_table_with_a_header_of_many_columns_is_read(tmp_path):
    names = ["X", "Y", "Z", *(f"scalar {chr(97 + i)}" for i in range(10))]
    rows = [[str(row + column) for column in range(13)] for row in (1, 2, 3)]
    (tmp_path / "a.csv").write_text("\n".join(map(",".join, [names, *rows])))
    np.testing.assert_array_equal(read_points(tmp_path / "a.csv"), [[1, 2, 3], [2, 3, 4], [3, 4, 5]])


@pytest.mark.parametrize(("kind", "code"), [("<i2", 5122), ("u1", 5121)])
@pytest.mark.parametrize("normalized", [False, True])
def test_quantised_points_of_gltf(kind, code, normalized, tmp_path):
    values = np.array([[0, 0, 0], [50, 20, 0], [100, 40, 127], [7, 0, 1]])
    rows = np.zeros((4, 4), kind)
    rows[:, :3] = values
    view = {"buffer": 0, "byteLength": rows.nbytes, "byteStride": rows.strides[0]}
    accessor = {"bufferView": 0, "componentType": code, "count": 4, "type": "VEC3", "normalized": normalized}
    tree = {
        "asset": {"version": "2.0"},
        "extensionsRequired": ["KHR_mesh_quantization"],
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "scale": [2, 2, 2]}],
        "meshes": [{"primitives": [{"mode": 0, "attributes": {"POSITION": 0}}]}],
        "accessors": [accessor],
        "bufferViews": [view],
        "buffers": [{"uri": f"data:a/b;base64,{base64.b64encode(rows.tobytes()).decode()}"}],
    }
    (tmp_path / "a.gltf").write_text(json.dumps(tree))
    largest = np.iinfo(kind).max if normalized else 1
    np.testing.assert_allclose(read_points(tmp_path / "a.gltf"), 2 * values / largest)

"""Legal forms of ply, pcd, off, obj, stl, glTF, las and npz that programs write, against a second reader."""

import json
import struct

import laspy
import numpy as np
import pytest
import trimesh
from pypcd4 import Encoding, PointCloud

from pcclora.data import read_points, read_scan
from pcclora.errors import PccloraError

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(30, 3)).astype(np.float32)
COLORS = RNG.integers(0, 256, size=(30, 3)).astype(np.uint8)
LABELS = np.arange(30) % 3
CORNERS = np.array([[0, 0, 0], [2, 0, 0], [2, 1, 0], [0, 1, 0], [1, 3, 0]])
POLYGONS = [[0, 1, 2, 3], [3, 2, 4], [0, 1, 2, 4, 3]]
ENCODINGS = ["ascii", "binary_little_endian", "binary_big_endian"]
XYZ = [("float", "x"), ("float", "y"), ("float", "z")]
_CODES = {"float": "f", "double": "d", "uchar": "B", "short": "h", "int": "i"}


def ply(folder, encoding, *elements, comment=b""):
    """Write a ply of elements (name, properties, rows); a property is (type, name), a list has its type in brackets."""
    header, body = b"ply\nformat %s 1.0\n%s" % (encoding.encode(), comment), []
    order = ">" if "big" in encoding else "<"
    for name, properties, rows in elements:
        lines = [f"element {name} {len(rows)}"]
        lines += [f"property {f'list uchar {t[1:-1]}' if t[0] == '[' else t} {n}" for t, n in properties]
        header += "\n".join(lines).encode() + b"\n"
        for row in rows:
            cells = []
            for (kind, _), value in zip(properties, row, strict=True):
                values, kind = (value, kind[1:-1]) if kind[0] == "[" else ([value], kind)
                cells += [("B", len(values))] if values is value else []
                cells += [(_CODES[kind], v) for v in values]
            text = " ".join(str(v) for _, v in cells).encode() + b"\n"
            body.append(
                text
                if encoding == "ascii"
                else struct.pack(order + "".join(c for c, _ in cells), *(v for _, v in cells))
            )
    (folder / "a.ply").write_bytes(header + b"end_header\n" + b"".join(body))
    return folder / "a.ply"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_ply_of_mixed_polygons_is_sampled_as_its_triangles(encoding, tmp_path):
    faces = [(polygon, 7) for polygon in POLYGONS]
    path = ply(
        tmp_path,
        encoding,
        ("vertex", XYZ, CORNERS.tolist()),
        ("face", [("[int]", "vertex_indices"), ("uchar", "flag")], faces),
    )
    triangles = [[p[0], p[i], p[i + 1]] for p in POLYGONS for i in range(1, len(p) - 1)]
    trimesh.Trimesh(CORNERS, triangles, process=False).export(tmp_path / "b.stl")
    np.testing.assert_allclose(
        read_points(path, mesh_points=99), read_points(tmp_path / "b.stl", mesh_points=99), atol=1e-6
    )
    open3d = pytest.importorskip("open3d")
    mesh = open3d.io.read_triangle_mesh(str(path))
    assert len(mesh.triangles) in (0, len(triangles))  # Open3D leaves out what has five corners in some versions
    np.testing.assert_array_equal(np.asarray(mesh.vertices), CORNERS)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("longest", [1, 4])
def test_lists_and_other_elements_beside_the_vertices_are_passed_over(encoding, longest, tmp_path):
    lists = [list(range(1 + i % longest)) for i in range(30)]
    rows = [(a, *xyz, b) for a, xyz, b in zip(lists, POINTS.tolist(), LABELS.tolist(), strict=True)]
    vertex = [("[short]", "descriptor"), *XYZ, ("int", "label")]
    scan = read_scan(
        ply(
            tmp_path,
            encoding,
            ("camera", [("double", "view"), ("[float]", "matrix")], [(1.5, [1.0, 2.0])]),
            ("vertex", vertex, rows),
            ("range_grid", [("[int]", "vertex_indices")], [([],), ([1, 2],), ([],)]),
            comment="comment Größe\nobj_info x\n".encode("cp1252"),
        )
    )
    np.testing.assert_allclose(scan.points, POINTS, rtol=1e-6)
    np.testing.assert_array_equal(scan.labels, LABELS)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "names", ["red green blue", "diffuse_red diffuse_green diffuse_blue", "r g b", "Red Green Blue"]
)
def test_a_ply_colour_goes_by_several_names_and_types(encoding, names, tmp_path):
    dark = np.minimum(COLORS, 1)  # as bytes, 1 is black; as a fraction, it is white
    for kind, given, right in (("uchar", dark, dark), ("float", COLORS / 255, COLORS), ("float", COLORS, COLORS)):
        rows = np.hstack([POINTS, given]).tolist()
        rows = [[*row[:3], *(int(v) if kind == "uchar" else v for v in row[3:])] for row in rows]
        path = ply(tmp_path, encoding, ("vertex", XYZ + [(kind, name) for name in names.split()], rows))
        np.testing.assert_array_equal(read_scan(path).colors, right)


def pcd(folder, changes=(), rows="1 2 3\n4 5 6\n", name="a.pcd"):
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n"
        "WIDTH 2\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 2\nDATA ascii\n"
    )
    for old, new in changes:
        assert old in header
        header = header.replace(old, new)
    (folder / name).write_bytes((header + rows).encode("latin-1"))
    return folder / name


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ([], "1 2 3 \n4 5 6 \n"),
        ([], "1  2  3\n4 5  6\n"),
        ([], "1\t2\t3\n4\t5\t6\n"),
        ([], " 1 2 3\n 4 5 6\n"),
        ([], "1 2 3\r\n4 5 6\r\n"),
        ([], "\n1 2 3\n\n4 5 6\n"),
        ([("TYPE F F F", "TYPE f f f")], None),
        ([("COUNT 1 1 1\n", "")], None),
        ([("FIELDS x y z", "FIELDS X Y Z")], None),
        ([("VERSION 0.7", "VERSION .6"), ("FIELDS", "COLUMNS"), ("VIEWPOINT 0 0 0 1 0 0 0\n", "")], None),
        ([("POINTS 2\n", "")], None),
        ([("HEIGHT 1\n", "")], None),
        ([("# .PCD", "# gr\xf6\xdfer .PCD")], None),
        (
            [
                ("FIELDS x y z", "FIELDS x _ y z _"),
                ("4 4 4", "4 1 4 4 4"),
                ("F F F", "F U F F F"),
                ("1 1 1\n", "1 3 1 1 2\n"),
            ],
            "1 0 0 0 2 3 8 8\n4 0 0 0 5 6 8 8\n",
        ),
        ([("DATA ascii", "data ASCII"), ("FIELDS", "fields")], None),
    ],
)
def test_every_legal_text_pcd_is_read(changes, rows, tmp_path):
    path = pcd(tmp_path, changes, *([] if rows is None else [rows]))
    np.testing.assert_array_equal(read_points(path), [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize("encoding", list(Encoding))
def test_an_organised_cloud_gives_its_finite_points_with_their_colours_and_labels(encoding, tmp_path):
    points = POINTS.copy()
    points[[0, 7], [0, 2]] = np.nan
    points[29] = np.inf
    rgb = PointCloud.encode_rgb(COLORS).reshape(-1).view(np.uint32)
    cloud = PointCloud.from_points(
        (*points.T, rgb, LABELS.astype(np.uint8)),
        ("x", "y", "z", "rgb", "label"),
        (np.float32,) * 3 + (np.uint32, np.uint8),
    )
    cloud.save(tmp_path / "a.pcd", encoding=encoding)
    with pytest.warns(
        UserWarning, match=r"a.pcd: 3 of 30 points are NaN or infinite and left out, the first is point 0"
    ):
        scan = read_scan(tmp_path / "a.pcd")
    kept = np.isfinite(points).all(axis=1)
    np.testing.assert_allclose(scan.points, POINTS[kept], rtol=1e-6)
    np.testing.assert_array_equal(scan.colors, COLORS[kept])
    np.testing.assert_array_equal(scan.labels, LABELS[kept])


def test_rows_without_a_place_are_left_out_of_every_format(tmp_path):
    points = POINTS.astype(np.float64)
    points[3] = np.nan
    np.save(tmp_path / "a.npy", points)
    np.savez(tmp_path / "a.npz", points=points, colors=COLORS, label=LABELS)
    np.savetxt(tmp_path / "a.txt", points)
    ply(tmp_path, "ascii", ("vertex", XYZ, points.tolist()))
    (tmp_path / "a.off").write_text("OFF\n30 0 0\n" + "\n".join(" ".join(map(str, row)) for row in points))
    (tmp_path / "a.obj").write_text("\n".join("v " + " ".join(map(str, row)) for row in points))
    for suffix in ("npy", "npz", "txt", "ply", "off", "obj"):
        with pytest.warns(UserWarning, match="1 of 30 points"):
            scan = read_scan(tmp_path / f"a.{suffix}")
        np.testing.assert_allclose(scan.points, np.delete(points, 3, axis=0), rtol=1e-6)
    np.save(tmp_path / "a.npy", np.full((4, 3), np.nan))
    with pytest.raises(PccloraError, match="all 4 points are NaN or infinite"):
        read_points(tmp_path / "a.npy")


def boxes(relative):
    """Return three boxes as an obj whose faces stand behind the vertices of each, and the mesh."""
    meshes = [trimesh.creation.box(extents=(1, 2, 4)).apply_translation((5 * i, i, -i)) for i in range(3)]
    lines, before = [], 0
    for mesh in meshes:
        lines += ["v " + " ".join(map(str, vertex)) for vertex in mesh.vertices]
        names = mesh.faces - 8 if relative else mesh.faces + 1 + before
        lines += ["f " + " ".join(f"{i}/{i}/{i}" for i in face) for face in names]
        before += 8
    return "\n".join(lines), trimesh.util.concatenate(meshes)


def test_relative_indices_of_an_obj_count_from_where_they_stand(tmp_path):
    text, mesh = boxes(relative=True)
    (tmp_path / "a.obj").write_text(text)
    (tmp_path / "b.obj").write_text(boxes(relative=False)[0])
    points = read_points(tmp_path / "a.obj", mesh_points=4000)
    np.testing.assert_array_equal(points, read_points(tmp_path / "b.obj", mesh_points=4000))
    np.testing.assert_allclose([points.min(0), points.max(0)], mesh.bounds, atol=0.1)
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nf -1 -2 -3\nv 0 1 0\n")
    with pytest.raises(PccloraError, match="a face names vertex -3, 2 stand before it"):
        read_points(tmp_path / "a.obj")


def test_what_else_an_obj_may_say(tmp_path):
    (tmp_path / "a.obj").write_text(
        "mtllib ../no/such.mtl\n# a comment\no part\nv 0 0 0 # first\nv  1 0 0 1.0\nv 1 1 \\\n0\nv 0 1 0\n"
        "vn 0 0 1\nvt 0 0\nusemtl none\ns off\nf 1//1 2//1 \\\n 3//1 4//1\nl 1 2\np 1\n"
    )
    points = read_points(tmp_path / "a.obj", mesh_points=500)
    assert points.min() >= 0 and points.max() <= 1 and points[:, 0].max() > 0.9 and points[:, 1].max() > 0.9


@pytest.mark.parametrize("scale", [1, 255])
def test_vertex_colours_of_an_obj_and_an_off_without_faces(scale, tmp_path):
    colors = COLORS / 255 * scale
    rows = np.hstack([POINTS, colors])
    np.savetxt(tmp_path / "a.obj", rows, fmt=["v %.6f"] + ["%.6f"] * 5)
    opaque = np.hstack([rows, np.full((len(rows), 1), scale)])
    np.savetxt(tmp_path / "b.obj", opaque, fmt=["v %.6f"] + ["%.6f"] * 6)
    np.savetxt(tmp_path / "a.off", rows, fmt="%.6f", header="COFF\n30 0 0", comments="")
    np.savetxt(tmp_path / "b.off", np.hstack([POINTS, POINTS, colors]), fmt="%.6f", header="CNOFF\n30 0 0", comments="")
    for name in ("a.obj", "b.obj", "a.off", "b.off"):
        np.testing.assert_array_equal(read_scan(tmp_path / name).colors, COLORS)


def test_a_binary_stl_is_read_by_its_count_whatever_stands_around(tmp_path):
    box = trimesh.creation.box(extents=(1, 2, 4))
    content = box.export(file_type="stl")
    path = tmp_path / "a.stl"
    path.write_bytes(content)
    right = read_points(path, mesh_points=64)
    path.write_bytes(b"solid facet of CAD".ljust(80) + content[80:])
    np.testing.assert_array_equal(read_points(path, mesh_points=64), right)
    path.write_bytes(b"solid x\0".ljust(80, b"\0") + content[80:] + b"0123456789")
    with pytest.warns(UserWarning, match="10 bytes after the last of 12 triangles left out"):
        np.testing.assert_array_equal(read_points(path, mesh_points=64), right)
    text = box.export(file_type="stl_ascii").replace("solid", "solid facet of CAD", 1)
    path.write_text(text.upper())
    np.testing.assert_allclose(read_points(path, mesh_points=64), right, atol=1e-6)


@pytest.mark.parametrize("suffix", ["glb", "gltf"])
def test_a_scene_of_gltf_has_its_parts_at_their_places(suffix, tmp_path):
    scene = trimesh.Scene()
    turn = trimesh.transformations.rotation_matrix(0.7, (1, 2, 3), (4, 5, 6))
    scene.add_geometry(trimesh.creation.box(extents=(1, 2, 4)), transform=turn)
    scene.add_geometry(trimesh.creation.icosphere(subdivisions=1), transform=np.diag([2, 3, 1, 1]))
    if suffix == "glb":
        (tmp_path / "a.glb").write_bytes(scene.export(file_type="glb"))
    else:
        files = trimesh.exchange.gltf.export_gltf(scene, embed_buffers=True)
        (tmp_path / "a.gltf").write_bytes(files["model.gltf"])
    points = read_points(tmp_path / f"a.{suffix}", mesh_points=2000)
    mesh = scene.to_mesh()
    np.testing.assert_allclose([points.min(0), points.max(0)], mesh.bounds, atol=0.2)
    assert np.abs(trimesh.proximity.closest_point_naive(mesh, points[:50])[1]).max() < 1e-5


def test_turned_and_scaled_nodes_and_points_with_colours_of_gltf(tmp_path):
    quaternion = trimesh.transformations.random_quaternion(np.array([0.1, 0.4, 0.8]))
    data = POINTS.tobytes() + np.hstack([COLORS, COLORS[:, :1]]).tobytes()
    tree = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [1]}],
        "nodes": [
            {"mesh": 0, "rotation": [*quaternion[1:].tolist(), quaternion[0]], "scale": [1, 2, 3]},
            {"children": [0], "translation": [1, 2, 3]},
        ],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 1}, "mode": 0}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 30, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5121, "count": 30, "type": "VEC4", "normalized": True},
        ],
        "bufferViews": [{"buffer": 0, "byteLength": 360}, {"buffer": 0, "byteOffset": 360, "byteLength": 120}],
        "buffers": [{"byteLength": len(data)}],
    }
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(data), 0x004E4942) + data
    (tmp_path / "a.glb").write_bytes(b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks)
    scan = read_scan(tmp_path / "a.glb")
    turned = (POINTS * (1, 2, 3)) @ trimesh.transformations.quaternion_matrix(quaternion)[:3, :3].T + (1, 2, 3)
    np.testing.assert_allclose(scan.points, turned, atol=1e-5)
    np.testing.assert_array_equal(scan.colors, COLORS)


@pytest.mark.filterwarnings("ignore:array of 4 columns")
def test_the_class_of_an_object_beside_its_points_is_no_part_label(tmp_path):
    for label in (np.array(3), np.array([3])):
        np.savez(tmp_path / "a.npz", points=POINTS, label=label)
        assert read_scan(tmp_path / "a.npz").labels is None
        np.savez(tmp_path / "a.npz", points=np.column_stack([POINTS, LABELS]), label=label)
        np.testing.assert_array_equal(read_scan(tmp_path / "a.npz").labels, LABELS)
    np.savez(tmp_path / "a.npz", points=POINTS, label=LABELS[:, None], rgb=np.hstack([COLORS, COLORS[:, :1]]))
    scan = read_scan(tmp_path / "a.npz")
    np.testing.assert_array_equal(scan.labels, LABELS)
    np.testing.assert_array_equal(scan.colors, COLORS)


def test_an_array_with_named_fields(tmp_path):
    rows = np.zeros(30, dtype=[("z", "f4"), ("x", "f8"), ("Y", "f4"), ("label", "u1")])
    rows["x"], rows["Y"], rows["z"], rows["label"] = *POINTS.T, LABELS
    np.save(tmp_path / "a.npy", rows)
    scan = read_scan(tmp_path / "a.npy")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.labels, LABELS)


@pytest.mark.parametrize("shape", [(3, 11), (3, 1024), (6, 2048)])
def test_channels_first_are_refused_by_name(shape, tmp_path):
    np.save(tmp_path / "a.npy", RNG.normal(size=shape))
    np.savez(tmp_path / "a.npz", points=RNG.normal(size=shape))
    np.savetxt(tmp_path / "a.txt", RNG.normal(size=shape))
    for name in ("a.npy", "a.npz", "a.txt"):
        with pytest.raises(PccloraError, match=r"channels first, .* save array\.T"):
            read_points(tmp_path / name)


@pytest.mark.filterwarnings("ignore:array of")
@pytest.mark.parametrize("columns", [3, 6, 10])
def test_three_points_of_few_columns_are_points(columns, tmp_path):
    np.save(tmp_path / "a.npy", np.ones((3, columns)))
    assert len(read_points(tmp_path / "a.npy")) == 3


UTM = np.array([431_000.0, 5_400_000.0, 100.0])


def test_map_coordinates_in_float32_are_told(tmp_path):
    exact = RNG.uniform(0, 30, size=(800, 3)) + UTM
    rounded = exact.astype(np.float32)
    np.save(tmp_path / "a.npy", rounded)
    np.savetxt(tmp_path / "a.txt", rounded.astype(np.float64), fmt="%.3f")
    np.savetxt(tmp_path / "b.txt", exact, fmt="%.6g")
    trimesh.PointCloud(rounded).export(tmp_path / "a.ply")
    for name in ("a.npy", "a.txt", "a.ply"):
        with pytest.warns(UserWarning, match=r"y has \d+ distinct values in 800 points, in steps of 0.5: .* 5,400,0"):
            read_points(tmp_path / name)
    with pytest.warns(UserWarning, match=r"in steps of 10: .*too few digits"):
        read_points(tmp_path / "b.txt")


@pytest.mark.filterwarnings("error")
def test_what_keeps_its_detail_is_not_told(tmp_path):
    exact = RNG.uniform(0, 30, size=(800, 3)) + UTM
    grid = np.stack(np.meshgrid(*[np.arange(8.0)] * 3), axis=-1).reshape(-1, 3)
    for cloud in (exact, exact.round(3), grid, grid + 100, (exact - exact.mean(0)).astype(np.float32), exact[:2]):
        np.save(tmp_path / "a.npy", cloud)
        read_points(tmp_path / "a.npy")


def test_laz_is_read(tmp_path):
    pytest.importorskip("lazrs")
    header = laspy.LasHeader(point_format=2, version="1.2")
    header.scales = np.full(3, 1e-6)
    cloud = laspy.LasData(header)
    cloud.xyz = POINTS
    cloud.red, cloud.green, cloud.blue = COLORS.T.astype(np.uint16) * 256
    cloud.write(tmp_path / "a.laz", do_compress=True)
    scan = read_scan(tmp_path / "a.laz")
    np.testing.assert_allclose(scan.points, POINTS, atol=1e-6)
    np.testing.assert_array_equal(scan.colors, COLORS)


def test_laz_without_a_decompressor_names_it(tmp_path, monkeypatch):
    cloud = laspy.LasData(laspy.LasHeader(point_format=0, version="1.2"))
    cloud.xyz = POINTS
    cloud.write(tmp_path / "a.las")
    content = bytearray((tmp_path / "a.las").read_bytes())
    content[104] |= 0x80
    (tmp_path / "a.laz").write_bytes(content)
    monkeypatch.setattr(laspy.LazBackend, "detect_available", staticmethod(lambda: ()))
    with pytest.raises(PccloraError, match=r"pip install 'pcclora\[las\]'"):
        read_points(tmp_path / "a.laz")

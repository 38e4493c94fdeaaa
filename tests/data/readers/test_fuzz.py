"""Files of every format with bytes changed, cut out or put in: one clear error, or finite points."""

import base64
import io
import json

import laspy
import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pypcd4 import Encoding, PointCloud

from pcclora.data import read_scan
from pcclora.data.readers import READERS
from pcclora.errors import PccloraError

POINTS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
BOX = trimesh.creation.box()
COLUMNS = {"bin": ["x", "y", "z"]}


def pcd(encoding, folder):
    rgb = PointCloud.encode_rgb(np.full((6, 3), 9, dtype=np.uint8)).reshape(-1, 1)
    PointCloud.from_xyzrgb_points(np.hstack([POINTS, rgb])).save(folder / "a", encoding=encoding)
    return (folder / "a").read_bytes()


def las(*, packed=False):
    header = laspy.LasHeader(point_format=2, version="1.4")
    header.add_extra_dim(laspy.ExtraBytesParams("label", np.uint8))
    cloud = laspy.LasData(header)
    cloud.xyz, cloud.label = POINTS, np.arange(6)
    stream = io.BytesIO()
    if packed:
        pytest.importorskip("lazrs")
    cloud.write(stream, do_compress=packed)
    return stream.getvalue()


def npz():
    stream = io.BytesIO()
    np.savez_compressed(stream, points=POINTS, colors=np.full((6, 3), 9, dtype=np.uint8), label=np.arange(6))
    return stream.getvalue()


def npy():
    stream = io.BytesIO()
    np.save(stream, POINTS)
    return stream.getvalue()


def gltf():
    tree = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "translation": [1, 2, 3], "scale": [2, 2, 2], "rotation": [0, 0, 1, 0]}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 6, "type": "VEC3"}],
        "bufferViews": [{"buffer": 0, "byteLength": 72}],
        "buffers": [{"uri": f"data:;base64,{base64.b64encode(POINTS.tobytes()).decode()}", "byteLength": 72}],
    }
    return json.dumps(tree).encode()


def mixed_ply():
    head = (
        b"ply\nformat binary_little_endian 1.0\nelement vertex 6\n"
        b"property float x\nproperty float y\nproperty float z\n"
        b"element face 2\nproperty list uchar int vertex_indices\nend_header\n"
    )
    faces = b"\x04" + np.arange(4, dtype="<i4").tobytes() + b"\x03" + np.arange(3, dtype="<i4").tobytes()
    return head + POINTS.tobytes() + faces


def text(row=" ".join):
    return "\n".join(row(f"{x:.6f}" for x in point) for point in POINTS).encode() + b"\n"


SEEDS = {
    "cloud.ply": lambda _: trimesh.PointCloud(POINTS).export(file_type="ply"),
    "mesh.ply": lambda _: BOX.export(file_type="ply"),
    "text.ply": lambda _: trimesh.exchange.ply.export_ply(BOX, encoding="ascii"),
    "mixed.ply": lambda _: mixed_ply(),
    "a.off": lambda _: BOX.export(file_type="off").encode(),
    "a.obj": lambda _: BOX.export(file_type="obj").encode(),
    "a.stl": lambda _: BOX.export(file_type="stl"),
    "text.stl": lambda _: BOX.export(file_type="stl_ascii").encode(),
    "a.glb": lambda _: BOX.export(file_type="glb"),
    "a.gltf": lambda _: gltf(),
    "text.pcd": lambda folder: pcd(Encoding.ASCII, folder),
    "a.pcd": lambda folder: pcd(Encoding.BINARY, folder),
    "packed.pcd": lambda folder: pcd(Encoding.BINARY_COMPRESSED, folder),
    "a.las": lambda _: las(),
    "a.laz": lambda _: las(packed=True),
    "a.npy": lambda _: npy(),
    "a.npz": lambda _: npz(),
    "a.bin": lambda _: POINTS.tobytes(),
    "a.txt": lambda _: text(),
    "a.xyz": lambda _: b"6\n// X Y Z\n" + text(),
    "a.csv": lambda _: b"x,y,z\n" + text(",".join),
    "a.asc": lambda _: b"# made up\n" + text("\t".join),
    "a.pts": lambda _: b"6\n" + text(),
    "a.xyzn": lambda _: text(lambda cells: " ".join([*cells, "0 0 1"])),
    "a.xyzrgb": lambda _: text(lambda cells: " ".join([*cells, "0.1 0.2 1"])),
}
CHANGE = st.tuples(st.sampled_from(["set", "cut", "put", "end"]), st.floats(0, 1), st.binary(min_size=1, max_size=5))


def changed(content, changes):
    for what, share, new in changes:
        at = int(share * len(content))
        rest = {"set": at + len(new), "cut": at + 8 * new[0], "put": at, "end": len(content)}[what]
        content = content[:at] + (new if what in ("set", "put") else b"") + content[rest:]
    return content


def test_every_format_is_here():
    assert {f".{name.split('.')[1]}" for name in SEEDS} == set(READERS)


@pytest.mark.parametrize("name", SEEDS)
def test_the_files_are_read_as_they_are(name, tmp_path):
    (tmp_path / name).write_bytes(SEEDS[name](tmp_path))
    assert np.isfinite(read_scan(tmp_path / name, columns=COLUMNS.get(name.split(".")[1])).points).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SEEDS)
def test_a_changed_file_is_read_or_refused(name, tmp_path):
    whole = SEEDS[name](tmp_path)
    path = tmp_path / name

    @settings(max_examples=100, deadline=20_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(CHANGE, min_size=1, max_size=3))
    def check(changes):
        path.write_bytes(changed(whole, changes))
        try:
            scan = read_scan(path, mesh_points=16, columns=COLUMNS.get(name.split(".")[1]))
        except PccloraError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            return
        assert scan.points.ndim == 2 and scan.points.shape[1] == 3 and len(scan.points)
        assert np.isfinite(scan.points).all()
        for values in (scan.colors, scan.labels):
            assert values is None or len(values) == len(scan.points)

    check()

"""Files that declare more than they hold, name other files, or are none: one error at once, and no memory."""

import json
import os
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

from pcclora.data import read_points
from pcclora.errors import PccloraError

FLOATS = b"property float x\nproperty float y\nproperty float z\n"
PLY = b"ply\nformat binary_little_endian 1.0\nelement vertex %d\n" + FLOATS + b"end_header\n"
PCD = b"VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 %d\nWIDTH 1\nHEIGHT 1\nPOINTS 1\nDATA %s\n"


def npy(shape, descr="<f4"):
    return (
        b"\x93NUMPY\x01\x00v\x00"
        + f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}".ljust(118).encode()
    )


def las(start, records):
    header = bytearray(227)
    header[:4], header[24:26] = b"LASF", b"\1\2"
    struct.pack_into("<HIIBHI", header, 94, 227, start, records, 0, 20, 1)
    return bytes(header) + bytes(20)


def gltf(**changes):
    tree = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "buffers": [{"uri": "data:application/octet-stream;base64," + "A" * 48}],
    }
    return json.dumps(tree | changes).encode()


CASES = {
    "a.ply": (PLY % 10**12 + bytes(36), "declares 1,000,000,000,000 points"),
    "b.ply": (PLY % 10**7 + bytes(36), "truncated, 3 of 10,000,000 rows of vertex"),
    "c.ply": (b"ply\nformat ascii 1.0\nelement vertex 19000000\nend_header\n", "truncated, 0 of 19,000,000"),
    "d.ply": (PLY.replace(b"float x", b"list uint float x") % 3 + b"\xff" * 36, "truncated"),
    "e.ply": (
        PLY.replace(b"float x", b"list char float x") % 1 + b"\xff" * 36,
        "a list of -1 values",
    ),
    "a.off": (b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n1000000000 0 1 2\n", "3 of 1,000,000,000 corners of face 0"),
    "b.off": (b"OFF\n3 1000000000 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", "declares 1,000,000,000 points"),
    "c.off": (b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 3\n", "a face names vertex 3 of 3"),
    "a.pcd": (PCD % (10**9, b"ascii") + b"1 2 3\n", "3 numbers in a row, the header declares 1,000,000,002"),
    "b.pcd": (PCD % (10**9, b"binary") + b"1 2 3\n", "truncated, 0 of 1 points"),
    "c.pcd": (
        PCD % (10**9, b"binary_compressed") + struct.pack("<II", 9, 4 * 10**9 + 8) + bytes(9),
        "of which 9 are stored",
    ),
    "a.las": (las(227, 2**32 - 1), "0 of 4,294,967,295 records"),
    "b.las": (las(2**32 - 1, 2**32 - 1), "of 4,294,967,295 records"),
    "a.npy": (npy((10**12, 3)) + bytes(99), "declares 1,000,000,000,000 points"),
    "b.npy": (npy((10**6, 3)) + bytes(99), "declares 12,000,000 bytes and has 227"),
    "c.npy": (npy((3,), "|O") + bytes(99), "Object arrays cannot be loaded"),
    "a.stl": (bytes(80) + struct.pack("<I", 2**32 - 1) + bytes(50), "declares 4,294,967,295 points"),
    "b.stl": (bytes(80) + struct.pack("<I", 3) + bytes(50), "truncated, 1 of 3 triangles"),
    "c.stl": (bytes(80) + struct.pack("<I", 0) + bytes(500), "neither a text with facets nor a count of triangles"),
    "a.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 99999999999999999999\n", "damaged"),
    "b.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 4\n", "a face names vertex 3 of 3"),
    "a.gltf": (gltf(buffers=[{"uri": "/etc/passwd"}]), "its points lie in another file, '/etc/passwd'"),
    "b.gltf": (gltf(nodes=[{"children": [0]}]), "which is no tree"),
    "c.gltf": (gltf(nodes=[{"mesh": 0}] * 3, scenes=[{"nodes": [0, 1, 1]}]), "which is no tree"),
    "d.gltf": (
        gltf(extensionsRequired=["KHR_draco_mesh_compression"]),
        "needs the extension KHR_draco_mesh_compression",
    ),
    "e.gltf": (b"[" * 100_000, "damaged"),
    "f.gltf": (
        gltf(
            nodes=[{"mesh": 0}] * 2_000,
            scenes=[{"nodes": list(range(2_000))}],
            accessors=[{"bufferView": 0, "componentType": 5126, "count": 20_000, "type": "VEC3"}],
        ),
        "declares 40,000,000 points",
    ),
    "g.gltf": (gltf(bufferViews=[{"buffer": 0, "byteStride": 0}]), "accessor 0 is out of range"),
    "a.jpg": (b"", "unknown format '.jpg'; known: .asc, .bin, .csv, .glb"),
    "a" * 300 + ".ply": (None, "no such file"),
}


@pytest.mark.parametrize("name", CASES, ids=[name[-8:] for name in CASES])
def test_what_a_file_declares_is_compared_with_what_it_is(name, tmp_path):
    content, message = CASES[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(PccloraError, match=message) as caught:
        read_points(tmp_path / name)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 300e6 and time.perf_counter() - began < 10
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["npy", "obj", "off", "stl", "ply", "txt", "pcd", "glb", "bin", "npz"])
def test_a_file_of_holes_takes_no_memory(suffix, tmp_path):
    heads = {
        "npy": npy((250_000_000, 3)),
        "off": b"OFF\n3 1 0\n",
        "ply": b"ply\nformat ascii 1.0\nelement vertex 5\n" + FLOATS,
    }
    heads |= {
        "obj": b"v 1 2 3\n",
        "stl": b"solid x\nfacet\n",
        "txt": b"1 2 3\n",
        "glb": b"glTF\2\0\0\0",
        "las": las(227, 0),
    }
    heads |= {"pcd": b"FIELDS x y z\nWIDTH 5\nDATA ascii\n"}
    path = tmp_path / f"a.{suffix}"
    with path.open("wb") as file:
        file.write(heads.get(suffix, b""))
        file.truncate(3_000_000_000)
    tracemalloc.start()
    with pytest.raises(PccloraError):
        read_points(path, columns=["x", "y", "z"])
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()


def test_an_archive_of_zeros_is_not_unfolded(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", npy((6_000_000, 3)) + bytes(72_000_000))
    with pytest.raises(PccloraError, match="of which .* are stored"):
        read_points(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", points=np.ones((5, 3)), other=np.array([print], dtype=object))
    assert len(read_points(tmp_path / "b.npz")) == 5  # what is not asked for is not opened


@pytest.mark.parametrize("suffix", ["ply", "txt", "npy", "gltf"])
def test_a_pipe_or_a_folder_is_no_file(suffix, tmp_path):
    os.mkfifo(tmp_path / f"a.{suffix}")
    with pytest.raises(PccloraError, match="this is no file, but a device or a pipe"):
        read_points(tmp_path / f"a.{suffix}")
    (tmp_path / f"b.{suffix}").mkdir()
    with pytest.raises(PccloraError, match="this is a folder"):
        read_points(tmp_path / f"b.{suffix}")

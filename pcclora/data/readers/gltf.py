"""Scenes of glTF 2 (glb, gltf), where one file holds all of it: what lies in other files is never looked for."""

import base64
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcclora import limits
from pcclora.data.base import IntArray
from pcclora.data.readers.content import RGB, Content, cut
from pcclora.errors import PccloraError

_COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}
_HARMLESS = ("KHR_mesh_quantization", "KHR_materials_", "KHR_texture_", "EXT_texture_", "KHR_lights_")
_POINTS, _TRIANGLES, _STRIP, _FAN = 0, 4, 5, 6


def read_gltf(path: Path, _: object) -> Content:
    """Read the triangles of all meshes at their places in the scene; where there are none, its points.

    Materials and textures are not opened.
    """
    tree, chunk = _parts(path)
    required = [name for name in tree.get("extensionsRequired", []) if not str(name).startswith(_HARMLESS)]
    if required:
        raise PccloraError(f"{path}: needs the extension {required[0]}, which is not read; export it without")
    scene = _Scene(tree, [_buffer(entry, chunk, path) for entry in tree.get("buffers", [])], path)
    placed = [(place, part) for place, node in scene.nodes() for part in scene.parts(node)]
    surfaces = [(place, part) for place, part in placed if part.get("mode", _TRIANGLES) in _CORNERS]
    clouds = [(place, part) for place, part in placed if part.get("mode", _TRIANGLES) == _POINTS]
    chosen = surfaces or clouds
    if not chosen:
        raise PccloraError(f"{path}: no triangles and no points in this scene")
    limits.check_points(sum(scene.size(part) for _, part in chosen), path)
    points = [scene.points(part) @ place[:3, :3].T + place[:3, 3] for place, part in chosen]
    if not surfaces:
        colors = [scene.colors(part) for _, part in chosen]
        known = [color for color in colors if color is not None]
        fields = dict(zip(RGB, np.concatenate(known).T, strict=False)) if len(known) == len(colors) else {}
        return Content(np.concatenate(points), fields)
    starts = np.cumsum([0, *map(len, points)])
    faces = [
        scene.triangles(part, len(own)) + start for (_, part), own, start in zip(chosen, points, starts, strict=False)
    ]
    return Content(np.concatenate(points), {}, np.concatenate(faces))


class _Scene:
    """What a tree says, read from the bytes of its buffers."""

    def __init__(self, tree: dict[str, Any], buffers: list[bytes], path: Path) -> None:
        self.tree, self.buffers, self.path = tree, buffers, path

    def nodes(self) -> Iterator[tuple[NDArray[np.float64], dict[str, Any]]]:
        """Pass on the nodes of the scene with their places (4, 4)."""
        nodes = self.tree.get("nodes", [])
        scenes = self.tree.get("scenes", [])
        waiting = [
            (np.eye(4), index) for index in (scenes[self.tree.get("scene", 0)].get("nodes", []) if scenes else [])
        ]
        met = set[int]()
        while waiting:
            place, index = waiting.pop()
            if index in met or not 0 <= index < len(nodes):
                raise PccloraError(
                    f"{self.path}: node {index} is absent or stands twice in the scene, which is no tree"
                )
            met.add(index)
            here = place @ _matrix(nodes[index])
            yield here, nodes[index]
            waiting += [(here, child) for child in nodes[index].get("children", [])]

    def parts(self, node: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the primitives of a node's mesh."""
        return self.tree["meshes"][node["mesh"]]["primitives"] if "mesh" in node else []

    def size(self, part: dict[str, Any]) -> int:
        """Return the number of points or corners that a primitive declares, whichever is larger."""
        names = [part["attributes"]["POSITION"], *([part["indices"]] if "indices" in part else [])]
        return max(int(self.tree["accessors"][name]["count"]) for name in names)

    def points(self, part: dict[str, Any]) -> NDArray[np.float64]:
        """Return the points (N, 3) of a primitive."""
        name = part["attributes"]["POSITION"]
        values = self._array(name)
        if values.dtype.kind in "iu" and self.tree["accessors"][name].get("normalized"):  # KHR_mesh_quantization
            return np.maximum(values / np.iinfo(values.dtype).max, -1.0)
        return values.astype(np.float64)

    def colors(self, part: dict[str, Any]) -> NDArray[Any] | None:
        """Return the colours (N, 3 or 4) of a primitive."""
        return self._array(part["attributes"]["COLOR_0"]) if "COLOR_0" in part["attributes"] else None

    def triangles(self, part: dict[str, Any], points: int) -> IntArray:
        """Return the triangles (F, 3) of a primitive."""
        indices = self._array(part["indices"])[:, 0].astype(np.int64) if "indices" in part else np.arange(points)
        if len(indices) and indices.max() >= points:
            raise PccloraError(f"{self.path}: a face names vertex {indices.max()} of {points}")
        return _CORNERS[part.get("mode", _TRIANGLES)](indices)

    def _array(self, index: int) -> NDArray[Any]:
        """Return the rows (N, C) of an accessor."""
        accessor = self.tree["accessors"][index]
        if "sparse" in accessor or "bufferView" not in accessor:
            raise PccloraError(f"{self.path}: accessor {index} is sparse or has no data; export it without compression")
        view = self.tree["bufferViews"][accessor["bufferView"]]
        data = self.buffers[view["buffer"]]
        kind, width = np.dtype(_COMPONENTS[accessor["componentType"]]), _WIDTHS[accessor["type"]]
        start, count = view.get("byteOffset", 0) + accessor.get("byteOffset", 0), accessor["count"]
        row = view.get("byteStride", kind.itemsize * width)
        limits.check_points(count, self.path)
        if count < 1 or start < 0 or row < kind.itemsize * width:
            raise ValueError(f"accessor {index} is out of range")
        if start + (count - 1) * row + kind.itemsize * width > len(data):
            raise cut(max(len(data) - start, 0) // row, count, f"rows of accessor {index}", self.path)
        return np.ndarray((count, width), kind, data, start, (row, kind.itemsize))


def _parts(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return the tree, and the bytes that stand behind it in a glb."""
    size = path.stat().st_size
    limits.check_points(size // 100, path)
    content = path.read_bytes()
    if not content.startswith(b"glTF"):
        tree, chunk = content, b""
    else:
        version, total, length, kind = struct.unpack_from("<IIII", content, 4)
        if version != 2 or kind != 0x4E4F534A:
            raise ValueError(f"a glb of version {version} or without a tree")
        if total > size:
            raise cut(size, total, "bytes", path)
        tree, chunk = content[20 : 20 + length], content[28 + length : total]
    parsed = json.loads(tree.decode("utf-8-sig"))
    if not isinstance(parsed, dict):
        raise ValueError("no tree of a scene")
    return parsed, chunk


def _buffer(entry: dict[str, Any], chunk: bytes, path: Path) -> bytes:
    uri = entry.get("uri")
    if uri is None:
        return chunk
    head, mark, data = str(uri).partition(";base64,")
    if not mark or not head.startswith("data:"):
        raise PccloraError(f"{path}: its points lie in another file, '{str(uri)[:80]}'; export one file: a glb")
    return base64.b64decode(data, validate=True)


def _matrix(node: dict[str, Any]) -> NDArray[np.float64]:
    """Return the place (4, 4) of a node in its parent."""
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), dtype=np.float64)
    turn = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(turn) * np.array(node.get("scale", (1, 1, 1)), dtype=np.float64)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def _strip(corners: IntArray) -> IntArray:
    return np.stack([corners[:-2], corners[1:-1], corners[2:]], axis=1)


def _fan(corners: IntArray) -> IntArray:
    return np.stack([np.full(max(len(corners) - 2, 0), corners[0]), corners[1:-1], corners[2:]], axis=1)


_CORNERS: dict[int, Callable[[IntArray], IntArray]] = {
    _TRIANGLES: lambda corners: corners.reshape(-1, 3),
    _STRIP: _strip,
    _FAN: _fan,
}

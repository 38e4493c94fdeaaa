"""Every kind of file that somebody may hand over: how a valid one is made, and how the library reads it."""

import base64
import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import laspy
import numpy as np
import trimesh
from PIL import Image
from pypcd4 import Encoding, PointCloud

from pcclora.data import read_episode, read_image, read_scan
from pcclora.data.base import Parts
from pcclora.data.readers.prepared import save_prepared
from pcclora.data.readers.prepared_parts import save_prepared_parts
from pcclora.data.sets.fgvc import FOLDERS
from pcclora.registry import DATASETS
from tests.data.image_trees import fgvc_set, vtab_task
from tests.robustness.guard import Answer

N = 40
RNG = np.random.default_rng(11)
XYZ = RNG.normal(size=(N, 3)).astype(np.float32).round(3)
RGB = RNG.integers(0, 256, (N, 3)).astype(np.uint8)
PARTS = np.arange(N, dtype=np.uint8) % 3
BOX = trimesh.creation.icosphere(subdivisions=1)


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        make: Fills an empty folder.
        damaged: Which of the files in it are damaged, as glob patterns.
        read: Reads what ``make`` wrote.
        checked: There is a checksum over everything, so what is read of a damaged file must be what was written.
        counted: It says how long it is, so that a file cut short must be refused, or read to the same.
    """

    make: Callable[[Path], object]
    damaged: tuple[str, ...]
    read: Callable[[Path], Answer]
    checked: bool = False
    counted: bool = False


def one_scan(folder: Path) -> Answer:
    """Read the only file as points."""
    (file,) = folder.iterdir()
    options = {"columns": ["x", "y", "z"]} if file.suffix == ".bin" else {}
    scan = read_scan(file, mesh_points=32, **options)
    assert scan.points.ndim == 2 and scan.points.shape[1] == 3 and len(scan.points)
    for held in (scan.colors, scan.labels):
        assert held is None or len(held) == len(scan.points)
    return {name: value for name, value in vars(scan).items() if isinstance(value, np.ndarray)}


def one_image(folder: Path) -> Answer:
    """Read the only file as an image."""
    (file,) = folder.iterdir()
    pixels = read_image(file)
    assert pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8
    return {"pixels": pixels}


def samples(name: str, split: str, settings: Mapping[str, Any], folder: Path) -> Answer:
    """Open a data set and read its samples."""
    dataset = DATASETS.build(DATASETS.get(name).config(root=str(folder), **settings), split=split)
    answer = {"labels": dataset.labels, "classes": list(dataset.class_names)}
    if dataset.parts is not None:
        answer |= {"part names": list(dataset.parts.names), "parts": repr(dataset.parts.of_class)}
    for index in range(min(len(dataset), 6)):
        sample = dataset[index]
        for key in ("points", "part_labels", "pixels"):
            if getattr(sample, key, None) is not None:
                answer[f"{index} {key}"] = getattr(sample, key)
        assert 0 <= sample.label < len(dataset.class_names)
        if getattr(sample, "part_labels", None) is not None:
            assert len(sample.part_labels) == len(sample.points)
    return answer


def episode(folder: Path) -> Answer:
    """Read a few-shot fold."""
    found = read_episode(folder, way=2, shot=1, fold=0)
    return {
        f"{side} {index}": data[index].points
        for side, data in (("support", found.support), ("query", found.query))
        for index in range(len(data))
    } | {"record": repr(found.record())}


def ply(encoding: str, order: str = "<") -> bytes:
    types = [("x", "f4"), ("y", "f4"), ("z", "f4"), *((name, "u1") for name in ("red", "green", "blue", "label"))]
    table = np.empty(N, [(name, f"{order}{kind}" if kind != "u1" else kind) for name, kind in types])
    for name, column in zip(table.dtype.names, [*XYZ.T, *RGB.T, PARTS], strict=True):
        table[name] = column
    words = {"f4": "float", "u1": "uchar"}
    head = [f"format {encoding} 1.0", "comment own", f"element vertex {N}"]
    head += [f"property {words[kind]} {name}" for name, kind in types]
    body = table.tobytes() if encoding != "ascii" else "".join(f"{' '.join(map(str, row))}\n" for row in table).encode()
    return "\n".join(["ply", *head, "end_header", ""]).encode() + body


def pcd(encoding: Encoding, folder: Path) -> None:
    packed = PointCloud.encode_rgb(RGB).reshape(-1, 1)
    PointCloud.from_xyzrgb_points(np.hstack([XYZ, packed])).save(folder / "a.pcd", encoding=encoding)


def las(file: str, folder: Path) -> None:
    header = laspy.LasHeader(point_format=2, version="1.4")
    header.add_extra_dim(laspy.ExtraBytesParams("label", np.uint8))
    cloud = laspy.LasData(header)
    cloud.xyz, cloud.label = XYZ, PARTS
    with (folder / file).open("wb") as stream:
        cloud.write(stream, do_compress=False)


def rows(separator: str, *columns: np.ndarray) -> str:
    return "".join(f"{separator.join(f'{cell:.4f}' for cell in row)}\n" for row in np.hstack(columns))


def gltf(folder: Path) -> None:
    files = BOX.scene().export(file_type="gltf")
    name = next(key for key in files if key.endswith(".gltf"))
    tree = json.loads(files[name])
    for buffer in tree["buffers"]:
        buffer["uri"] = f"data:;base64,{base64.b64encode(files[buffer['uri']]).decode()}"
    (folder / "a.gltf").write_text(json.dumps(tree))


def write(name: str, content: bytes | str, folder: Path) -> None:
    """Write one file."""
    held = content.encode() if isinstance(content, str) else content
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(held)


def h5(folder: Path, *, parts: bool) -> None:
    for split, seed in (("train", 1), ("test", 2)):
        draw = np.random.default_rng(seed)
        with h5py.File(folder / f"ply_data_{split}0.h5", "w") as file:
            file["data"] = draw.normal(size=(4, 16, 3)).astype(np.float32)
            file["label"] = np.array([[0], [1], [0], [1]])
            if parts:
                file["pid"] = np.arange(64).reshape(4, 16) % 2 + np.array([[0], [2], [0], [2]])
        listed = f"{split}_hdf5_file_list.txt" if parts else f"{split}_files.txt"
        write(listed, f"data/ply_data_{split}0.h5\n", folder)
    write("shape_names.txt", "bed\nsofa\n", folder)
    if parts:
        write("seg_classes.json", json.dumps({"bed": [0, 1], "sofa": [2, 3]}), folder)


def scanobjectnn(folder: Path) -> None:
    (folder / "main_split").mkdir()
    with h5py.File(folder / "main_split" / "training_objectdataset.h5", "w") as file:
        file["data"] = RNG.normal(size=(4, 16, 3)).astype(np.float32)
        file["label"] = np.arange(4)
        file["mask"] = np.where(np.arange(64).reshape(4, 16) % 3, 4, -1)


def dat(folder: Path) -> None:
    clouds = [RNG.normal(size=(16, 6)).astype(np.float32) for _ in range(4)]
    content = [clouds, [np.array([label]) for label in (0, 1, 0, 1)]]
    (folder / "modelnet40_train_8192pts_fps.dat").write_bytes(pickle.dumps(content))


def fold(folder: Path) -> None:
    items = {
        side: [(RNG.normal(size=(24, 6)).astype(np.float32), label, (37, 8)[label]) for label in (0, 1)]
        for side in ("train", "test")
    }
    write("2way_1shot/0.pkl", pickle.dumps(items), folder)


def modelnet_text(folder: Path) -> None:
    write("modelnet40_shape_names.txt", "bed\nsofa\n", folder)
    write("modelnet40_train.txt", "bed_0001\nsofa_0001\n", folder)
    for name in ("bed", "sofa"):
        write(f"{name}/{name}_0001.txt", rows(",", XYZ, XYZ), folder)


def prepared(folder: Path) -> None:
    points = RNG.normal(size=(4, 16, 3)).astype(np.float32)
    points /= np.linalg.norm(points, axis=2).max(axis=1)[:, None, None]
    save_prepared(
        folder / "modelnet40_train.safetensors",
        points=points,
        labels=np.array([0, 1, 0, 1]),
        class_names=["bed", "sofa"],
        places=[f"bed_{n}" for n in range(4)],
    )


def prepared_parts(folder: Path) -> None:
    clouds = [(RNG.normal(size=(12 + n, 3)), np.arange(12 + n) % 2 + 2 * (n % 2)) for n in range(4)]
    save_prepared_parts(
        folder / "shapenetpart_train.safetensors",
        clouds=clouds,
        labels=np.array([0, 1, 0, 1]),
        class_names=["bed", "sofa"],
        parts=Parts(("bed: top", "bed: leg", "sofa: back", "sofa: seat"), ((0, 1), (2, 3))),
        names=[f"1/{n}" for n in range(4)],
        listed=4,
    )


def shapenetpart(folder: Path) -> None:
    write("seg_classes.json", json.dumps({"Bag": [4, 5], "Mug": [36, 37]}), folder)
    write("synsetoffset2category.txt", "Bag\t02773838\nMug\t03797390\n", folder)
    names = [f"{synset}/{n}" for synset in ("02773838", "03797390") for n in range(2)]
    listed = json.dumps([f"shape_data/{name}" for name in names])
    write("train_test_split/shuffled_train_file_list.json", listed, folder)
    for name in names:
        first = 4 if name.startswith("02773838") else 36
        write(f"{name}.txt", rows(" ", XYZ, XYZ, first + PARTS[:, None] % 2), folder)


def own_parts(folder: Path) -> None:
    write("parts.yaml", "bed: [top, leg]\nsofa: [back, seat, arm]\n", folder)
    for name in ("bed", "sofa"):
        for number in range(3):
            write(f"{name}/{number}.txt", rows(" ", XYZ + number, PARTS[:, None] % 2), folder)


def clouds_of(suffix: str, make: Callable[[Path], object], **options: bool) -> Kind:
    return Kind(make, (f"*{suffix}",), one_scan, **options)


def mesh(name: str, form: str, **options: Any) -> Callable[[Path], object]:
    content = BOX.export(file_type=form, **options)
    return partial(write, name, content)


def image(name: str, **options: Any) -> Kind:
    pixels = Image.fromarray(np.random.default_rng(5).integers(0, 256, (18, 24, 3), dtype=np.uint8))
    return Kind(lambda folder: pixels.save(folder / name, **options), (name,), one_image)


def dataset(name: str, make: Callable[[Path], object], *damaged: str, **settings: Any) -> Kind:
    checked = name.endswith("!")
    return Kind(
        make,
        damaged,
        partial(samples, name.rstrip("!"), "train", settings),
        checked=checked,
        counted=checked or all(pattern.endswith(("h5", "dat")) for pattern in damaged),
    )


TABLES = {
    "txt": rows(" ", XYZ, PARTS[:, None]),
    "xyz": rows(" ", XYZ),
    "csv": "x,y,z\n" + rows(",", XYZ),
    "asc": "# own\n" + rows("\t", XYZ),
    "pts": f"{N}\n" + rows(" ", XYZ),
    "xyzn": rows(" ", XYZ, XYZ),
    "xyzrgb": rows(" ", XYZ, RGB / 255),
}
POINTS = {
    "ply text": clouds_of(".ply", partial(write, "a.ply", ply("ascii")), counted=True),
    "ply little": clouds_of(".ply", partial(write, "a.ply", ply("binary_little_endian")), counted=True),
    "ply big": clouds_of(".ply", partial(write, "a.ply", ply("binary_big_endian", ">")), counted=True),
    "ply mesh": clouds_of(".ply", mesh("a.ply", "ply"), counted=True),
    "off": clouds_of(".off", mesh("a.off", "off"), counted=True),
    "obj": clouds_of(".obj", mesh("a.obj", "obj")),
    "stl": clouds_of(".stl", mesh("a.stl", "stl"), counted=True),
    "stl text": clouds_of(".stl", mesh("a.stl", "stl_ascii")),
    "glb": clouds_of(".glb", mesh("a.glb", "glb"), counted=True),
    "gltf": clouds_of(".gltf", gltf, counted=True),
    "pcd text": clouds_of(".pcd", partial(pcd, Encoding.ASCII), counted=True),
    "pcd": clouds_of(".pcd", partial(pcd, Encoding.BINARY), counted=True),
    "pcd packed": clouds_of(".pcd", partial(pcd, Encoding.BINARY_COMPRESSED), counted=True),
    "las": clouds_of(".las", partial(las, "a.las"), counted=True),
    "laz": clouds_of(".laz", partial(las, "a.laz"), counted=True),
    "npy": clouds_of(".npy", lambda folder: np.save(folder / "a.npy", XYZ), counted=True),
    "npz": clouds_of(
        ".npz",
        lambda folder: np.savez(folder / "a.npz", points=XYZ, colors=RGB, label=PARTS),
        checked=True,
        counted=True,
    ),
    "bin": clouds_of(".bin", partial(write, "a.bin", XYZ.tobytes())),
    **{name: clouds_of(f".{name}", partial(write, f"a.{name}", content)) for name, content in TABLES.items()},
}
IMAGES = {
    name: image(f"a.{name}", **options)
    for name, options in {
        **{suffix: {} for suffix in ("jpg", "png", "bmp", "webp", "gif", "ppm")},
        "tif": {"compression": "tiff_lzw"},
    }.items()
}
SETS = {
    "h5": dataset("modelnet", partial(h5, parts=False), "ply_data_train0.h5"),
    "h5 lists": dataset("modelnet", partial(h5, parts=False), "train_files.txt", "shape_names.txt"),
    "h5 parts": dataset("partseg_h5", partial(h5, parts=True), "ply_data_train0.h5"),
    "seg_classes.json": dataset("partseg_h5", partial(h5, parts=True), "seg_classes.json"),
    "scanobjectnn": dataset("scanobjectnn", scanobjectnn, "main_split/*.h5", variant="OBJ_BG", incomplete=True),
    "dat": dataset("modelnet", dat, "*.dat"),
    "modelnet text": dataset("modelnet", modelnet_text, "*.txt", "*/*.txt"),
    "prepared": dataset("modelnet!", prepared, "*.safetensors"),
    "prepared parts": dataset("shapenetpart!", prepared_parts, "*.safetensors"),
    "shapenetpart": dataset("shapenetpart", shapenetpart, "*.txt", "*.json", "*/*.json", "*/*.txt"),
    "part_folder": dataset("part_folder", own_parts, "parts.yaml", "parts.yaml", "*/*.txt"),
    "few-shot fold": Kind(fold, ("*/*.pkl",), episode, counted=True),
    "vtab1k": dataset(
        "vtab1k",
        lambda folder: vtab_task(folder, "patch_camelyon"),
        "*/train800val200.txt",
        "*/images/train800val200/*.jpg",
        task="patch_camelyon",
    ),
    "fgvc": dataset(
        "fgvc",
        lambda folder: fgvc_set(folder, *FOLDERS["cub_200_2011"], ["a/", "b/"]),
        "*/train.json",
        task="cub_200_2011",
        classes=2,
    ),
}

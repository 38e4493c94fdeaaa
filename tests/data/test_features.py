"""Colours, normals and intensity: read as the file has them, and kept true to their points and their surface."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcclora.data import AXES, PRESETS, FolderConfig, augment, make_loader, read_cloud, read_scan, turn_upright
from pcclora.data.features import check_features, columns_of, width_of
from pcclora.data.sets.folder import FolderDataset
from pcclora.data.sets.part_folder import PartFolderConfig, part_folder
from pcclora.errors import PccloraError

RNG = np.random.default_rng(0)
XYZ = RNG.normal(size=(40, 3))
RGB = RNG.integers(0, 256, (40, 3)).astype(np.uint8)
NORMALS = RNG.normal(size=(40, 3))
NORMALS /= np.linalg.norm(NORMALS, axis=1, keepdims=True)
LIGHT = RNG.integers(0, 4000, 40)
ALL = ("rgb", "normal", "intensity")
EXPECTED = np.c_[RGB / 255, NORMALS, LIGHT / LIGHT.max()]


def write_ply(path, *, rgb=RGB, normals=NORMALS):
    columns = {**dict(zip("xyz", XYZ.T, strict=True)), **dict(zip(("nx", "ny", "nz"), normals.T, strict=True))}
    columns |= {**dict(zip(("red", "green", "blue"), rgb.T, strict=True)), "scalar_Intensity": LIGHT.astype("f4")}
    names = {"u1": "uchar", "u2": "ushort", "f4": "float", "f8": "double"}
    kinds = [(name, column.dtype.str[1:]) for name, column in columns.items()]
    rows = np.empty(len(XYZ), [(name, f"<{kind}") for name, kind in kinds])
    for name, column in columns.items():
        rows[name] = column
    head = "".join(f"property {names[kind]} {name}\n" for name, kind in kinds)
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(XYZ)}\n{head}end_header\n"
    path.write_bytes(head.encode() + rows.tobytes())


def write_pcd(path):
    packed = (RGB.astype(np.uint32) << np.array([16, 8, 0], np.uint32)).sum(axis=1)
    rows = [struct.pack("<3fI3ff", *p, c, *n, i) for p, c, n, i in zip(XYZ, packed, NORMALS, LIGHT, strict=True)]
    head = "FIELDS x y z rgb normal_x normal_y normal_z intensity\nSIZE 4 4 4 4 4 4 4 4\nTYPE F F F U F F F F\n"
    head = f"VERSION .7\n{head}COUNT 1 1 1 1 1 1 1 1\nWIDTH 40\nHEIGHT 1\nPOINTS 40\nDATA binary\n"
    path.write_bytes(head.encode() + b"".join(rows))


def write_txt(path):
    np.savetxt(path, np.c_[XYZ, RGB, NORMALS, LIGHT], header="x y z r g b nx ny nz intensity", comments="", fmt="%.9g")


def write_npz(path):
    np.savez(path, points=XYZ, colors=RGB, normals=NORMALS, intensity=LIGHT)


def write_npy(path):
    kinds = [(name, "f8") for name in ("x", "y", "z", "red", "green", "blue", "nx", "ny", "nz", "intensity")]
    np.save(path, np.array([tuple(row) for row in np.c_[XYZ, RGB, NORMALS, LIGHT]], kinds))


WRITERS = {"ply": write_ply, "pcd": write_pcd, "txt": write_txt, "npz": write_npz, "npy": write_npy}


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_form_gives_the_same_features_in_the_order_asked(tmp_path, suffix):
    path = tmp_path / f"scan.{suffix}"
    WRITERS[suffix](path)
    np.testing.assert_allclose(read_scan(path, features=ALL).features, EXPECTED, atol=1e-6)
    np.testing.assert_allclose(
        read_scan(path, features=("normal", "rgb")).features, EXPECTED[:, [3, 4, 5, 0, 1, 2]], atol=1e-6
    )
    assert read_scan(path).features is None


@pytest.mark.parametrize("rgb", [RGB.astype(np.uint16) * 257, RGB / 255, RGB.astype(np.float32)], ids=str)
def test_colours_of_any_kind_of_number_are_fractions_of_one(tmp_path, rgb):
    write_ply(tmp_path / "scan.ply", rgb=rgb)
    np.testing.assert_allclose(read_scan(tmp_path / "scan.ply", features=["rgb"]).features, RGB / 255, atol=1e-6)


def test_normals_have_length_one_or_are_none_and_that_is_said(tmp_path):
    normals = NORMALS * 3
    normals[[4, 7]] = [[0, 0, 0], [np.nan, 0, 0]]
    write_ply(tmp_path / "scan.ply", normals=normals)
    with pytest.warns(UserWarning, match="2 of 40 normals are 0 or not finite"):
        found = read_scan(tmp_path / "scan.ply", features=["normal"]).features
    assert not found[[4, 7]].any()
    others = np.delete(np.arange(40), [4, 7])
    np.testing.assert_allclose(found[others], NORMALS[others], atol=1e-6)
    write_ply(tmp_path / "none.ply", normals=normals * 0)
    with pytest.raises(PccloraError, match=r"none\.ply: every normal is 0"):
        read_scan(tmp_path / "none.ply", features=["normal"])


def test_points_that_are_left_out_take_their_features_along(tmp_path):
    points = XYZ.copy()
    points[3] = np.nan
    np.savez(tmp_path / "scan.npz", points=points, colors=RGB)
    with pytest.warns(UserWarning, match="left out"):
        scan = read_scan(tmp_path / "scan.npz", features=["rgb"])
    np.testing.assert_allclose(scan.features, np.delete(RGB, 3, axis=0) / 255, atol=1e-6)


def test_a_feature_that_is_not_there_is_one_error_with_what_is_there(tmp_path):
    np.savez(tmp_path / "scan.npz", points=XYZ, colors=RGB)
    with pytest.raises(PccloraError, match=r"scan\.npz: has no normal \(nx ny nz\).*it has rgb"):
        read_scan(tmp_path / "scan.npz", features=["rgb", "normal"])
    np.save(tmp_path / "bare.npy", XYZ)
    with pytest.raises(PccloraError, match="has no intensity.*it has none of rgb, normal, intensity"):
        read_scan(tmp_path / "bare.npy", features=["intensity"])
    np.savez(tmp_path / "dark.npz", points=XYZ, intensity=-LIGHT)
    with pytest.raises(PccloraError, match="intensity has values that are negative"):
        read_scan(tmp_path / "dark.npz", features=["intensity"])
    np.savez(tmp_path / "odd.npz", points=XYZ, colors=RGB * 1e6)
    with pytest.raises(PccloraError, match="rgb has others than 0 to 255"):
        read_scan(tmp_path / "odd.npz", features=["rgb"])


def test_what_is_of_something_else_is_no_error_where_nobody_asks_for_it(tmp_path):
    np.savez(tmp_path / "scan.npz", points=XYZ, normals=NORMALS[:7])
    assert len(read_scan(tmp_path / "scan.npz").points) == 40
    with pytest.raises(PccloraError, match="7 nx for 40 points"):
        read_scan(tmp_path / "scan.npz", features=["normal"])


def test_columns_without_names_are_not_guessed_to_be_features(tmp_path):
    np.save(tmp_path / "scan.npy", np.c_[XYZ, NORMALS])
    with pytest.raises(PccloraError, match="columns have no names, and features are not guessed"):
        read_scan(tmp_path / "scan.npy", features=["normal"])
    names = ["x", "y", "z", "nx", "ny", "nz"]
    found = read_scan(tmp_path / "scan.npy", features=["normal"], columns=names).features
    np.testing.assert_allclose(found, NORMALS, atol=1e-6)


def test_a_mesh_has_the_normals_of_its_faces_and_colours_between_its_corners(tmp_path):
    corners = [(0, 0, 0, 255, 0, 0), (2, 0, 0, 0, 255, 0), (0, 2, 0, 0, 0, 255)]  # its normal is z
    lines = "".join(" ".join(map(str, corner)) + "\n" for corner in corners)
    head = "".join(
        f"property {kind} {n}\n" for kind, ns in (("float", "xyz"), ("uchar", ("red", "green", "blue"))) for n in ns
    )
    head = f"ply\nformat ascii 1.0\nelement vertex 3\n{head}element face 1\nproperty list uchar int vertex_indices\n"
    (tmp_path / "mesh.ply").write_text(f"{head}end_header\n{lines}3 0 1 2\n")
    scan = read_scan(tmp_path / "mesh.ply", features=["rgb", "normal"], mesh_points=50)
    np.testing.assert_allclose(scan.features[:, 3:], np.tile([0, 0, 1], (50, 1)), atol=1e-6)
    x, y, _ = scan.points.T
    np.testing.assert_allclose(scan.features[:, :3], np.c_[1 - x / 2 - y / 2, x / 2, y / 2], atol=1e-6)
    with pytest.raises(PccloraError, match="has no intensity"):
        read_scan(tmp_path / "mesh.ply", features=["intensity"])


def test_names_that_are_none_are_refused():
    with pytest.raises(PccloraError, match=r"data\.features: unknown feature 'normals'; did you mean 'normal'"):
        FolderConfig(root="x", features=("normals",))
    with pytest.raises(PccloraError, match="has a name twice"):
        check_features(["rgb", "rgb"])
    assert width_of(ALL) == 7 and columns_of("normal", ALL) == slice(6, 9)


def triangle_normals(points):
    """Return the unit normal of each three points (3 M, 3), by a cross product of what the points have become."""
    a, b, c = points.astype(np.float64).reshape(-1, 3, 3).swapaxes(0, 1)
    normals = np.cross(b - a, c - a)
    return np.repeat(normals / np.linalg.norm(normals, axis=1, keepdims=True), 3, axis=0)


TRIANGLES = RNG.normal(size=(60, 3)).astype(np.float32)
ROWS = np.c_[np.tile(RGB[:20] / 255, (3, 1)), triangle_normals(TRIANGLES)].astype(np.float32)


@given(st.sampled_from(sorted(set(PRESETS) - {"jitter", "dropout"})), st.integers(0, 2**31))
def test_augmented_normals_are_those_of_the_augmented_surface(preset, seed):
    cloud = np.c_[TRIANGLES, ROWS]
    out = augment(cloud, preset=preset, seed=seed, epoch=0, index=0, features=("rgb", "normal"))
    np.testing.assert_array_equal(out[:, :3], augment(TRIANGLES, preset=preset, seed=seed, epoch=0, index=0))
    np.testing.assert_array_equal(out[:, 3:6], ROWS[:, :3])
    np.testing.assert_allclose(out[:, 6:], triangle_normals(out[:, :3]), atol=1e-3)


def test_jitter_leaves_features_and_dropout_takes_the_first_points_own():
    cloud = np.c_[TRIANGLES, ROWS]
    how = {"seed": 1, "epoch": 0, "index": 2}
    noisy = augment(cloud, preset="jitter", features=("rgb", "normal"), **how)
    np.testing.assert_array_equal(noisy[:, 3:], ROWS)
    np.testing.assert_array_equal(noisy[:, :3], augment(TRIANGLES, preset="jitter", **how))
    dropped = augment(cloud, preset="dropout", features=("rgb", "normal"), **how)
    for before, after in zip(cloud, dropped, strict=True):
        assert np.array_equal(after, before) or np.array_equal(after, cloud[0])


@pytest.mark.parametrize("up", AXES)
def test_normals_are_turned_upright_with_their_points(up):
    turned = turn_upright(np.c_[TRIANGLES, ROWS], up, ("rgb", "normal"))
    np.testing.assert_array_equal(turned[:, :3], turn_upright(TRIANGLES, up))
    np.testing.assert_array_equal(turned[:, 3:6], ROWS[:, :3])
    np.testing.assert_allclose(turned[:, 6:], triangle_normals(turned[:, :3]), atol=1e-4)


def test_a_folder_gives_features_with_their_points(tmp_path):
    """A colour that says where its point is still says it, whatever was sampled, turned, scaled and batched."""
    place = (XYZ - XYZ.min(axis=0)) / np.ptp(XYZ, axis=0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(3):
            np.savez(tmp_path / name / f"{index}.npz", points=XYZ, colors=place)
    config = FolderConfig(root=str(tmp_path), features=("rgb",), up="z", points=30)
    cloud = read_cloud(tmp_path / "a" / "0.npz", config)
    assert cloud.shape == (30, 6) and cloud.dtype == np.float32
    dataset = FolderDataset(config, split="train")
    (batch,) = make_loader(dataset, points=16, batch_size=len(dataset), train=True, augmentation="partseg_st")
    assert batch["points"].shape == (len(dataset), 16, 6)
    for rows in [cloud, *batch["points"].double().numpy()]:
        for axis, column, sign in ((0, 3, 1), (1, 5, 1), (2, 4, -1)):  # of z-up files, x z -y
            colour = rows[:, column]
            fitted = np.polynomial.Polynomial.fit(colour, rows[:, axis], 1)
            np.testing.assert_allclose(fitted(colour), rows[:, axis], atol=0.02)
            assert np.sign(fitted.convert().coef[1]) == sign


def test_parts_have_features_and_what_is_asked_of_the_model_is_places(tmp_path):
    (tmp_path / "parts.yaml").write_text("thing: [low, high]\n")
    (tmp_path / "thing").mkdir()
    for index in range(4):
        np.savez(tmp_path / "thing" / f"{index}.npz", points=XYZ, normals=NORMALS, label=(XYZ[:, 1] > 0).astype(int))
    dataset = part_folder(PartFolderConfig(root=str(tmp_path), features=("normal",)), split="train")
    assert dataset.features == ("normal",)
    np.testing.assert_allclose(dataset[0].points[:, 3:], NORMALS, atol=1e-6)
    loader = make_loader(dataset, points=16, batch_size=2, train=False, part_labels=True, whole=True)
    batch = next(iter(loader))
    assert batch["points"].shape == (2, 16, 6) and batch["query"].shape == (2, 40, 3)

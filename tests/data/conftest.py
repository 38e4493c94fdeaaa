"""Small trees in exactly the official forms, and where the real files are."""

import pickle
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def real() -> Callable[[str], str]:
    """Path of a real data folder; the test is skipped where it is not beside the checkout."""

    def find(name: str) -> str:
        if not (REAL / name).is_dir():
            pytest.skip(f"real data set {name} is not beside the checkout")
        return str(REAL / name)

    return find


@pytest.fixture
def clouds() -> np.ndarray:
    """Six clouds (6, 64, 6) with normals, none centred or scaled."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(6, 64, 6)) * 3 + 1).astype(np.float32)


@pytest.fixture
def text_tree(tmp_path: Path, clouds: np.ndarray) -> Path:
    """``modelnet40_normal_resampled`` with two classes, one of them with an underscore in its name."""
    names = ["chair_0001", "night_stand_0001", "chair_0002", "night_stand_0002", "chair_0890", "night_stand_0201"]
    for name, cloud in zip(names, clouds, strict=True):
        folder = tmp_path / name.rpartition("_")[0]
        folder.mkdir(exist_ok=True)
        np.savetxt(folder / f"{name}.txt", cloud, fmt="%.6f", delimiter=",")
    (tmp_path / "modelnet40_shape_names.txt").write_text("chair\nnight_stand\n")
    (tmp_path / "modelnet40_train.txt").write_text("\n".join(names[:4]) + "\n")
    (tmp_path / "modelnet40_test.txt").write_text("\n".join(names[4:]) + "\n")
    return tmp_path


@pytest.fixture
def dat_tree(text_tree: Path, clouds: np.ndarray) -> Path:
    """The text tree with Point-BERT's pickles beside it."""
    for split, rows in (("train", range(4)), ("test", range(4, 6))):
        content = [[clouds[i] for i in rows], [np.array([i % 2], dtype=np.int32) for i in rows]]
        (text_tree / f"modelnet40_{split}_8192pts_fps.dat").write_bytes(pickle.dumps(content))
    return text_tree


@pytest.fixture
def h5_tree(tmp_path: Path, clouds: np.ndarray) -> Path:
    """``modelnet40_ply_hdf5_2048`` with two training files."""
    for name, rows in (("train0", [0, 1]), ("train1", [2, 3]), ("test0", [4, 5])):
        with h5py.File(tmp_path / f"ply_data_{name}.h5", "w") as file:
            file["data"] = clouds[rows, :, :3]
            file["label"] = np.array(rows, dtype=np.uint8)[:, None] % 2
    prefix = "data/modelnet40_ply_hdf5_2048/ply_data_"
    (tmp_path / "train_files.txt").write_text(f"{prefix}train0.h5\n{prefix}train1.h5\n")
    (tmp_path / "test_files.txt").write_text(f"{prefix}test0.h5\n")
    (tmp_path / "shape_names.txt").write_text("chair\nnight_stand\n")
    return tmp_path

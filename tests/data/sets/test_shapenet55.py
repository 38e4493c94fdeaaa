import numpy as np
import pytest

from pcclora.data.sets.shapenet55 import ShapeNet55Config, shapenet55
from pcclora.errors import PccloraError


@pytest.fixture
def tree(tmp_path):
    """The official form, small."""
    (tmp_path / "ShapeNet-55").mkdir()
    (tmp_path / "shapenet_pc").mkdir()
    rng = np.random.default_rng(0)
    for split, names in {"train": ("02691156-a", "02691156-b", "03001627-c"), "test": ("04379243-d",)}.items():
        (tmp_path / "ShapeNet-55" / f"{split}.txt").write_text("".join(f"{name}.npy\n" for name in names))
        for name in names:
            np.save(tmp_path / "shapenet_pc" / f"{name}.npy", rng.standard_normal((8192, 3)).astype(np.float32))
    return tmp_path


def test_official_form(tree):
    data = shapenet55(ShapeNet55Config(root=str(tree)), split="train")
    assert data.class_names == ("02691156", "03001627", "04379243")
    assert data.labels.tolist() == [0, 0, 1]
    points = data[2].points
    assert points.shape == (8192, 3) and points.dtype == np.float32
    assert np.linalg.norm(points, axis=1).max() == pytest.approx(1, abs=1e-6)


def test_whole_adds_the_test_list_to_training_only(tree):
    config = ShapeNet55Config(root=str(tree), whole=True)
    assert [len(shapenet55(config, split=split)) for split in ("train", "test")] == [4, 1]


def test_real_files(shared_data):
    data = shapenet55(ShapeNet55Config(root=str(shared_data / "ShapeNet55-34")), split="train")
    assert len(data) == 55 and len(data.class_names) == 55
    assert all(data[i].points.shape == (8192, 3) for i in (0, 54))


def test_absent_and_damaged_files_are_named(tree):
    clouds = tree / "shapenet_pc"
    (clouds / "03001627-c.npy").unlink()
    with pytest.raises(PccloraError, match=r"1 of 3 files are absent.*03001627-c\.npy"):
        shapenet55(ShapeNet55Config(root=str(tree)), split="train")
    (clouds / "04379243-d.npy").write_bytes(b"<html>moved</html>")
    with pytest.raises(PccloraError, match=r"04379243-d\.npy: this is a web page"):
        shapenet55(ShapeNet55Config(root=str(tree)), split="test")[0]
    with pytest.raises(PccloraError, match="no split 'val'"):
        shapenet55(ShapeNet55Config(root=str(tree)), split="val")

import pickle
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from pcclora.data import ModelNetConfig
from pcclora.data.prepared import open_prepared, save_prepared
from pcclora.errors import PccloraError
from pcclora.ops import sample_farthest_points
from pcclora.registry import DATASETS

DATASETS_FOLDER = Path(__file__).resolve().parents[2] / "datasets"
main = runpy.run_path(str(DATASETS_FOLDER / "modelnet40" / "prepare.py"))["main"]


def open_split(root, **settings):
    return DATASETS.build(ModelNetConfig(root=str(root), **settings), split="train")


def test_text_becomes_one_mapped_file_in_farthest_point_order(text_tree, capsys):
    assert main([str(text_tree), "--incomplete", "--points", "32"]) == 0
    assert "4 objects in the form 'text'; wrote" in capsys.readouterr().out
    slow, fast = open_split(text_tree, form="text"), open_split(text_tree)
    assert (fast.form, fast.fps_ordered, fast.class_names) == ("prepared", True, slow.class_names)
    np.testing.assert_array_equal(fast.labels, slow.labels)
    for index in range(4):
        expected, _ = sample_farthest_points(torch.from_numpy(slow[index].points)[None], K=32)
        np.testing.assert_allclose(fast[index].points, expected[0], atol=1e-6)
    assert sorted(path.suffix for path in text_tree.iterdir() if path.is_file()).count(".tmp") == 0
    assert main([str(text_tree), "--incomplete"]) == 0
    assert "32 points each; nothing to do" in capsys.readouterr().out


def test_pickles_keep_their_order(dat_tree):
    assert main([str(dat_tree), "--incomplete", "--points", "16"]) == 0
    slow, fast = open_split(dat_tree, form="dat"), open_split(dat_tree)
    for index in range(4):
        np.testing.assert_allclose(fast[index].points, slow[index].points[:16], atol=1e-6)


def test_incomplete_or_absent_data_is_reported_with_where_to_get_it(text_tree, tmp_path, capsys):
    assert main([str(text_tree)]) == 1
    report = capsys.readouterr().err
    assert "4 objects in the form 'text', 9843 are expected" in report and "Pointcept/modelnet40" in report
    assert main([str(tmp_path / "nowhere")]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.safetensors"))


def test_check_writes_nothing(text_tree):
    before = sorted(text_tree.rglob("*"))
    assert main([str(text_tree), "--incomplete", "--check"]) == 0
    assert sorted(text_tree.rglob("*")) == before


def test_too_many_points_are_refused(text_tree, capsys):
    assert main([str(text_tree), "--incomplete", "--points", "100"]) == 1
    assert "64 points; pass --points 64 or fewer" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(text_tree), "--points", "0"])


def test_real_modelnet10_is_complete(real, capsys):
    assert main([real("modelnet10_ply_hdf5_1024"), "--classes", "10"]) == 0
    assert "train: 3991 objects in the form 'h5', 1024 points each; nothing to do" in capsys.readouterr().out


def test_a_damaged_prepared_file_is_refused(text_tree):
    path = text_tree / "modelnet40_train.safetensors"
    for content in (b"", b"<html>", bytes(range(64))):
        path.write_bytes(content)
        with pytest.raises(PccloraError, match=r"run prepare\.py again|web page"):
            open_split(text_tree)
    main([str(text_tree), "--incomplete", "--points", "32", "--check"])
    path.unlink()
    main([str(text_tree), "--incomplete", "--points", "32"])
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(PccloraError, match=r"prepare\.py again"):
        open_split(text_tree)
    with pytest.raises(PccloraError, match="normalize=false"):
        open_split(text_tree, normalize=False)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    points, labels = np.ones((1, 4, 3), np.float32), np.zeros(1, np.int64)
    save_prepared(path, points=points, labels=labels, class_names=["a"], places=["x"])
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(PccloraError, match=r"a\.safetensors: cannot be written: disk full"):
        save_prepared(path, points=points * 2, labels=labels, class_names=["a"], places=["x"])
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_mapped_clouds_can_be_sent_to_another_process(tmp_path):
    path = tmp_path / "a.safetensors"
    points = np.random.default_rng(0).normal(size=(3, 5, 3)).astype(np.float32)
    save_prepared(path, points=points, labels=np.zeros(3, np.int64), class_names=["a"], places=["x", "y", "z"])
    clouds = open_prepared(path).clouds
    copy = pickle.loads(pickle.dumps(clouds))
    assert len(copy) == 3
    np.testing.assert_array_equal(copy[1], points[1])


def test_datasets_is_no_package_and_every_card_says_the_same_things():
    assert not list(DATASETS_FOLDER.rglob("__init__.py"))  # the name would shadow Hugging Face's package
    for folder in DATASETS_FOLDER.iterdir():
        text = (folder / "README.md").read_text()
        assert text.startswith("# ") and "registered as" in text, folder

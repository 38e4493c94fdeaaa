import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from pcclora.data import ModelNetConfig
from pcclora.data.readers.prepared import open_prepared, save_prepared
from pcclora.errors import PccloraError
from pcclora.ops import sample_farthest_points
from pcclora.registry import DATASETS
from pcclora.tensor_file import write_tensors
from pcclora.tools.prepare.modelnet40 import main

DATASETS_FOLDER = Path(__file__).resolve().parents[3] / "datasets"


def wrong(main, *arguments):
    """Return what `pcclora prepare` names as wrong."""
    with pytest.raises(PccloraError) as error:
        main(list(map(str, arguments)))
    return str(error.value)


def open_split(root, **settings):
    return DATASETS.build(ModelNetConfig(root=str(root), **settings), split="train")


def test_text_becomes_one_mapped_file_in_farthest_point_order(text_tree, capsys):
    main([str(text_tree), "--incomplete", "--points", "32"])
    assert "4 objects in the form 'text'; wrote" in capsys.readouterr().out
    slow, fast = open_split(text_tree, form="text"), open_split(text_tree)
    assert (fast.form, fast.fps_ordered, fast.class_names) == ("prepared", True, slow.class_names)
    np.testing.assert_array_equal(fast.labels, slow.labels)
    for index in range(4):
        expected, _ = sample_farthest_points(torch.from_numpy(slow[index].points)[None], K=32)
        np.testing.assert_allclose(fast[index].points, expected[0], atol=1e-6)
    assert sorted(path.suffix for path in text_tree.iterdir() if path.is_file()).count(".tmp") == 0
    main([str(text_tree), "--incomplete"])
    assert "32 points each; nothing to do" in capsys.readouterr().out


def test_pickles_keep_their_order(dat_tree):
    main([str(dat_tree), "--incomplete", "--points", "16"])
    slow, fast = open_split(dat_tree, form="dat"), open_split(dat_tree)
    for index in range(4):
        np.testing.assert_allclose(fast[index].points, slow[index].points[:16], atol=1e-6)


def test_incomplete_or_absent_data_is_reported_with_where_to_get_it(text_tree, tmp_path):
    report = wrong(main, text_tree)
    assert "4 objects in the form 'text', 9843 are expected" in report and "Pointcept/modelnet40" in report
    assert "does not exist" in wrong(main, tmp_path / "nowhere")
    assert not list(tmp_path.glob("*.safetensors"))


def test_check_writes_nothing(text_tree):
    before = sorted(text_tree.rglob("*"))
    main([str(text_tree), "--incomplete", "--check"])
    assert sorted(text_tree.rglob("*")) == before


def test_too_many_points_are_refused(text_tree):
    report = wrong(main, text_tree, "--incomplete", "--points", "100")
    assert "64 points; pass --points 64 or fewer" in report
    with pytest.raises(SystemExit):
        main([str(text_tree), "--points", "0"])


def test_real_modelnet10_is_complete(real, capsys):
    main([real("modelnet10_ply_hdf5_1024"), "--classes", "10"])
    assert "train: 3991 objects in the form 'h5', 1024 points each; nothing to do" in capsys.readouterr().out


def test_a_damaged_prepared_file_is_refused(text_tree):
    path = text_tree / "modelnet40_train.safetensors"
    for content in (b"", b"<html>", bytes(range(64))):
        path.write_bytes(content)
        with pytest.raises(PccloraError, match=r"run pcclora prepare again|web page"):
            open_split(text_tree)
    assert "delete it and run pcclora prepare again" in wrong(main, text_tree, "--incomplete", "--check")
    path.unlink()
    main([str(text_tree), "--incomplete", "--points", "32"])
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(PccloraError, match=r"pcclora prepare again"):
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


def small_file(path):
    points = np.random.default_rng(0).normal(size=(3, 5, 3)).astype(np.float32)
    save_prepared(path, points=points, labels=np.arange(3) % 2, class_names=["a", "b"], places=["x", "y", "z"])
    return path


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found(tmp_path, place, bit):
    path = small_file(tmp_path / "a.safetensors")
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(PccloraError, match=r"a\.safetensors.*run pcclora prepare again"):
        open_prepared(path)


def as_it_is_now(path, **changes):
    """Write a prepared file with other content, checksum and all; None leaves an entry out."""
    clouds = {"points": torch.zeros(3, 5, 3), "labels": torch.tensor([0, 1, 0])}
    words = {"format": "pcclora clouds 2", "class_names": '["a", "b"]', "places": '["x", "y", "z"]'}
    own = {key: changes.get(key, value) for key, value in (clouds | words).items()}
    held = {key: own[key] for key in clouds if own[key] is not None}
    write_tensors(path, held, {key: own[key] for key in words if own[key] is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": torch.zeros(4, 5, 3)}, r"'labels' is torch.int64 \(3,\), torch.int64 \(4\) is needed"),
        ({"points": torch.zeros(3)}, r"'points' is torch.float32 \(3,\), torch.float32 \(any, any, 3\) is needed"),
        ({"points": torch.tensor(0.0)}, r"'points' is torch.float32 \(\)"),
        ({"points": torch.zeros(0, 5, 3)}, r"'points' is torch.float32 \(0, 5, 3\)"),
        ({"points": torch.zeros(3, 5, 3, dtype=torch.float64)}, "'points' is torch.float64"),
        ({"points": None}, "no 'points' in it"),
        ({"labels": None}, "no 'labels' in it"),
        ({"labels": torch.tensor([0.0, 0.5, 1.0])}, "'labels' is torch.float32"),
        ({"labels": torch.zeros(3, 1, dtype=torch.int64)}, r"'labels' is torch.int64 \(3, 1\)"),
        ({"class_names": "3"}, "class_names is 3, a list is needed"),
        ({"class_names": '["a", 3]'}, r"class_names\[1\] is 3, a text is needed"),
        ({"class_names": '["a", "a"]'}, "class 'a' is named twice"),
        ({"class_names": "[" * 100_000}, "'class_names': cannot be read: nested too deeply"),
        ({"class_names": None}, "there is no class_names"),
        ({"places": '["x", "y"]'}, "2 names for 3 clouds"),
        ({"places": "null"}, "places is None, a list is needed"),
        ({"places": "{"}, "'places': cannot be read"),
        ({"format": "pcclora parts 2"}, "not a file of this version's pcclora prepare"),
        ({"format": "pcclora clouds 3"}, "not a file of this version's pcclora prepare"),
    ],
)
def test_what_a_prepared_file_cannot_hold_is_refused(tmp_path, changes, message):
    as_it_is_now(tmp_path / "a.safetensors")
    assert open_prepared(tmp_path / "a.safetensors").class_names == ("a", "b")
    as_it_is_now(tmp_path / "a.safetensors", **changes)
    with pytest.raises(PccloraError, match=rf"a\.safetensors.*{message}"):
        open_prepared(tmp_path / "a.safetensors")


def test_a_file_of_before_there_was_a_checksum_is_read_with_a_warning(tmp_path):
    path = tmp_path / "a.safetensors"
    tensors = {"points": np.ones((1, 4, 3), np.float32), "labels": np.zeros(1, np.int64)}
    metadata = {"class_names": '["a"]', "places": '["x"]', "format": "pcclora clouds 1"}
    save_file(tensors, path, metadata=metadata)
    with pytest.warns(UserWarning, match=r"a\.safetensors: has no checksum.*run pcclora prepare again"):
        assert open_prepared(path).labels.tolist() == [0]
    save_file(tensors, path, metadata=metadata | {"format": "pcclora clouds 2"})
    with pytest.raises(PccloraError, match="its checksum is gone"):
        open_prepared(path)


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

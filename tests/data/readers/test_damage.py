"""Every kind of damage to a benchmark's files is one PccloraError that names the file and says what to do."""

import json
import pickle
import tracemalloc

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pcclora.data import ModelNetConfig, PartSegH5Config
from pcclora.data.readers.pickles import load_pickle
from pcclora.data.sets.seg_classes import SHAPENETPART
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS

HTML = b"<!DOCTYPE html><html><body>404 Not Found</body></html>"


def read_all(root, form="auto", split="train", config=None):
    dataset = DATASETS.build(config or ModelNetConfig(root=str(root), form=form), split=split)
    return [dataset[index] for index in range(len(dataset))]


def rewrite_h5(path, **arrays):
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file[key] = array


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


def with_data(store):
    """Return a damage whose file has labels, and 'data' as ``store(file, path)`` makes it."""

    def damage(path):
        with h5py.File(path, "w") as file:
            file["label"] = LABEL
            store(file, path)

    return damage


def external_link(file, path):
    file["data"] = h5py.ExternalLink("ply_data_train0.h5", "data")


def soft_link(file, path):
    file["other"], file["data"] = CLOUD, h5py.SoftLink("/other")


def external_storage(file, path):
    path.with_name("secret").write_bytes(bytes(range(256)) * 6)
    file.create_dataset("data", (2, 64, 3), "f4", external=[(str(path.with_name("secret")), 0, 1536)])


def virtual(file, path):
    layout = h5py.VirtualLayout((2, 64, 3), "f4")
    layout[...] = h5py.VirtualSource(path.with_name("ply_data_train0.h5"), "data", (2, 64, 3))
    file.create_virtual_dataset("data", layout)


def never_written(file, path):
    file.create_dataset("data", (150_000, 2048, 3), "f4", chunks=(1, 2048, 3))


def unpacked_chunk(file, path):
    file.create_dataset("data", (2, 64, 3), "f4", maxshape=(None, None, 3), chunks=(3000, 3000, 3), compression="gzip")


CLOUD, LABEL = np.zeros((2, 64, 3), np.float32), np.zeros((2, 1), np.uint8)
NAN = CLOUD.copy()
NAN[1, 7, 2] = np.nan
H5 = {
    "missing": (lambda p: p.unlink(), "1 of 2 files are absent"),
    "empty": (lambda p: p.write_bytes(b""), "the file is empty"),
    "truncated": (cut, "truncated"),
    "html": (lambda p: p.write_bytes(HTML), "web page"),
    "random": (lambda p: p.write_bytes(bytes(range(256))), "another format"),
    "no data": (lambda p: rewrite_h5(p, label=LABEL), "no key 'data', it has label"),
    "no label": (lambda p: rewrite_h5(p, data=CLOUD), "no key 'label', it has data"),
    "text labels": (lambda p: rewrite_h5(p, data=CLOUD, label=LABEL.astype("S1")), "'label' must hold whole numbers"),
    "float labels": (lambda p: rewrite_h5(p, data=CLOUD, label=LABEL / 2), "found dtype float"),
    "integer points": (lambda p: rewrite_h5(p, data=CLOUD.astype(int), label=LABEL), "'data' must hold floating-point"),
    "flat points": (lambda p: rewrite_h5(p, data=CLOUD[0, :2], label=LABEL), r"must be \(samples, points, 3\)"),
    "two columns": (lambda p: rewrite_h5(p, data=CLOUD[..., :2], label=LABEL), r"must be \(samples, points, 3\)"),
    "lengths": (lambda p: rewrite_h5(p, data=CLOUD, label=LABEL[:1]), "one common length"),
    "labels a point": (lambda p: rewrite_h5(p, data=CLOUD, label=np.zeros((2, 64), int)), "one number a sample"),
    "label range": (lambda p: rewrite_h5(p, data=CLOUD, label=LABEL + 9), r"label 9 is not in 0\.\.1"),
    "external link": (with_data(external_link), "'data' is a link to elsewhere"),
    "soft link": (with_data(soft_link), "'data' is a link to elsewhere"),
    "external storage": (with_data(external_storage), "'data' lies in other files"),
    "virtual": (with_data(virtual), "'data' lies in other files"),
    "a group": (with_data(lambda file, path: file.create_group("data")), "'data' is no array"),
    "no shape": (with_data(lambda file, path: file.create_dataset("data", data=h5py.Empty("f4"))), "is no array"),
    "never written": (with_data(never_written), "'data': declares 3,686,400,000 bytes, of which 0 are stored"),
    "unpacked chunk": (with_data(unpacked_chunk), "'data': declares 108,000,000 bytes"),
    "channels first": (lambda p: rewrite_h5(p, data=CLOUD.swapaxes(1, 2), label=LABEL), "channels first.*swapaxes"),
    "nan": (
        lambda p: rewrite_h5(p, data=NAN, label=LABEL),
        r"\[1\]: 1 points are NaN or infinite, the first is point 7",
    ),
}


@pytest.mark.parametrize("kind", H5)
def test_h5(kind, h5_tree):
    damage, message = H5[kind]
    damage(h5_tree / "ply_data_train1.h5")
    with pytest.raises(PccloraError, match=message) as caught:
        read_all(h5_tree)
    assert "ply_data_train1.h5" in str(caught.value)
    assert len(read_all(h5_tree, split="test")) == 2


def with_row(text):
    def damage(path):
        path.write_text(path.read_text().replace("\n", f"\n{text}\n", 1))

    return damage


TEXT = {
    "missing": (lambda p: p.unlink(), "1 of 4 files are absent"),
    "empty": (lambda p: p.write_bytes(b""), "the file is empty"),
    "html": (lambda p: p.write_bytes(HTML), "web page"),
    "word": (with_row("1,2,three"), "damaged"),
    "ragged": (with_row("1,2,3,4"), "damaged"),
    "nan": (with_row("1,nan,3,0,0,1"), "the first is point 1"),
    "binary": (lambda p: p.write_bytes(bytes(range(128, 256))), "another format"),
}


@pytest.mark.parametrize("kind", TEXT)
def test_text(kind, text_tree):
    damage, message = TEXT[kind]
    damage(text_tree / "chair" / "chair_0002.txt")
    with pytest.raises(PccloraError, match=message) as caught:
        read_all(text_tree)
    assert "chair_0002.txt" in str(caught.value)


def test_absent_objects_are_one_error(text_tree):
    (text_tree / "modelnet40_train.txt").write_text("\n".join(f"chair_{i:04d}" for i in range(500)))
    with pytest.raises(PccloraError, match=r"498 of 500 files are absent: .*chair_0000\.txt.*, \.\.\.; see .*datasets"):
        read_all(text_tree)


def test_lists_that_do_not_fit(text_tree):
    (text_tree / "modelnet40_train.txt").write_text("spaceship_0001\n")
    with pytest.raises(PccloraError, match="'spaceship_0001' is of no class"):
        read_all(text_tree)
    (text_tree / "modelnet40_train.txt").write_bytes(HTML)
    with pytest.raises(PccloraError, match="web page"):
        read_all(text_tree)


def test_a_class_is_named_once(h5_tree, clouds):
    (h5_tree / "shape_names.txt").write_text("cafe\u0301\ncaf\u00e9\n")  # the same letters, in two spellings
    with pytest.raises(PccloraError, match=r"shape_names\.txt: class 'café' is named twice, as number 1 and 2"):
        read_all(h5_tree)


@pytest.mark.parametrize("name", ["x" * 300, "nul\0", "x" * 5000])
def test_names_that_no_file_can_have_are_absent_ones(text_tree, h5_tree, name):
    (text_tree / "modelnet40_train.txt").write_text(f"chair_0001\nchair_{name}\n")
    with pytest.raises(PccloraError, match="1 of 2 files are absent"):
        read_all(text_tree, form="text")
    (h5_tree / "train_files.txt").write_text(f"ply_data_train0.h5\n{name}.h5\n")
    with pytest.raises(PccloraError, match="1 of 2 files are absent"):
        read_all(h5_tree, form="h5")


class _Bomb:
    def __reduce__(self):
        import os

        return os.system, ("touch exploded",)


DAT = {
    "empty": (b"", "the file is empty"),
    "html": (HTML, "web page"),
    "random": (bytes(range(256)), "another format"),
    "bomb": (pickle.dumps([[_Bomb()], [0]]), r"wants to run posix\.system"),
    "getattr": (b"cbuiltins\ngetattr\n.", r"wants to run builtins\.getattr"),
    "deep name": (b"\x80\x04\x8c\x05numpy\x8c\x0bf2py.os.sys\x93.", r"wants to run numpy\.f2py"),
    "a dict": (pickle.dumps({"train": []}), "expected"),
    "a number": (pickle.dumps(3), "expected"),
    "no clouds": (pickle.dumps([[], []]), "expected a list of point arrays"),
    "lengths": (pickle.dumps([[CLOUD[0]], [0, 1]]), "expected a list of point arrays"),
    "float label": (pickle.dumps([[CLOUD[0]], [0.5]]), "whole-number labels"),
    "label range": (pickle.dumps([[CLOUD[0]], [np.array([7])]]), r"label 7 is not in 0\.\.1"),
    "nan": (pickle.dumps([[NAN[1]], [0]]), "NaN or infinite"),
    "flat": (pickle.dumps([[CLOUD[0, 0]], [0]]), r"points must be \(N, 3 or more\)"),
    "objects": (pickle.dumps([[np.array([[1, 2, "a"]], dtype=object)], [0]]), "points must be numbers"),
}


@pytest.mark.parametrize("kind", DAT)
def test_dat(kind, dat_tree, monkeypatch):
    monkeypatch.chdir(dat_tree)
    content, message = DAT[kind]
    (dat_tree / "modelnet40_train_8192pts_fps.dat").write_bytes(content)
    with pytest.raises(PccloraError, match=message) as caught:
        read_all(dat_tree)
    assert "modelnet40_train_8192pts_fps.dat" in str(caught.value)
    assert not (dat_tree / "exploded").exists()


def test_a_truncated_pickle(dat_tree):
    cut(dat_tree / "modelnet40_train_8192pts_fps.dat")
    with pytest.raises(PccloraError, match="damaged"):
        read_all(dat_tree)


def tupled(times):
    """An empty tuple in a pair of itself, ``times`` over: 2 ** times elements in 2 bytes each."""
    return b")" + b"2\x86" * times


def shared_lists():
    lists = [0] * 10
    for _ in range(9):
        lists = [lists] * 10
    return lists


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
STATE = b"(K\x03\x8c\x01|NNNJ\x00\x00\x10\x00K\x01K\x00tb"
ENDLESS = {
    "shared lists": (pickle.dumps([[CLOUD[0]], shared_lists()]), "holds the same over and over"),
    "shared arrays": (pickle.dumps([[np.zeros((5000, 3))] * 300, [0] * 300]), "holds the same over and over"),
    "deep lists": (b"\x80\x04" + b"]" * 200_000 + b"a" * 199_999 + b".", "nested more than 50 times"),
    "deep name": (b"\x80\x04})" + b"\x85" * 500_000 + b"K\x01s.", "has a tuple for a name"),
    "wide name": (b"\x80\x04}" + tupled(60) + b"K\x01s.", "has a tuple for a name"),
    "wide names": (b"\x80\x04}(" + tupled(60) + b"K\x01u.", "has a tuple for a name"),
    "wide set": (b"\x80\x04\x8f(" + tupled(60) + b"\x90.", "damaged"),
    "wide function": (b"\x80\x04" + tupled(60) + b")R.", "wants to run a tuple"),
    "declared bytes": (b"\x80\x05\x96" + (10**10).to_bytes(8, "little") + b".", "declares 10,000,000,000 bytes"),
    "declared array": (b"\x80\x04cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85\x85R.", "wants to run"),
    "growing text": (b"\x80\x04c_codecs\nencode\n\x8c\x01a\x8c\x03hex\x86R.", "wants to encode in 'hex'"),
    "no bytes": (
        b"\x80\x04"
        + RECONSTRUCT
        + b"(K\x01J\xff\xff\xff\x7f\x85cnumpy\ndtype\n\x8c\x02V0\x85R"
        + STATE
        + b"\x89C\x00tb.",
        "holds the same over and over",
    ),
    "types of types": (pickle.dumps(np.zeros(2, [("a", "f4"), ("b", "i4")])), "a type made of types"),
    "a type in use": (
        b"\x80\x04](cnumpy\ndtype\n\x8c\x02V8\x85R\x94"
        + (RECONSTRUCT + b"(K\x01K\x01\x85h\x00\x89C\x0812345678tb" + b"h\x00" + STATE + b"e."),
        "uses what is not finished",
    ),
    "a type changed twice": (b"\x80\x04cnumpy\ndtype\n\x8c\x02V8\x85R" + 2 * STATE + b".", "wants to change a"),
    "an array on an array": (
        b"\x80\x04cnumpy.core.numeric\n_frombuffer\n("
        + (pickle.dumps(np.zeros(4), protocol=2)[2:-1] + b"cnumpy\ndtype\n\x8c\x02V8\x85R" + STATE)
        + b"K\x04\x85\x8c\x01CtR.",
        "not bytes of a type",
    ),
    "a changed type": (b"\x80\x04]}b.", "wants to change a list"),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_small_pickle_cannot_stand_for_much(tmp_path, kind):
    content, message = ENDLESS[kind]
    path = tmp_path / "any.dat"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(PccloraError, match=rf"any\.dat: .*{message}"):
            load_pickle(path)
        assert tracemalloc.get_traced_memory()[1] < 100 * 2**20
    finally:
        tracemalloc.stop()


def test_types_are_numpys_whatever_a_pickle_says_of_them(tmp_path):
    head = b"\x80\x04cnumpy\ndtype\n\x8c\x02%s\x89\x88\x87R(K\x03\x8c\x01>NNNM\xe8\x03K\x01K?tb."
    for code in (b"f4", b"i8", b"V8", b"U2", b"S2"):
        (tmp_path / "any.dat").write_bytes(head % code)
        kind = load_pickle(tmp_path / "any.dat")
        assert kind == np.dtype(code.decode()).newbyteorder(">") and kind.flags == np.dtype(code.decode()).flags
    assert np.dtype("f4").isnative and np.dtype("i8").isnative


@pytest.mark.parametrize("kind", [">f4", "<i8", "?", "U3", "S5", ">c16", "f2"])
@pytest.mark.parametrize("protocol", range(2, 6))
def test_arrays_of_every_type_are_read(tmp_path, kind, protocol):
    array = np.arange(12).reshape(3, 4).astype(kind)
    content = [array, array.T, array[0, 1], array[:, ::2], np.asfortranarray(array), array[:0]]
    (tmp_path / "any.dat").write_bytes(pickle.dumps(content, protocol=protocol))
    expected = pickle.loads((tmp_path / "any.dat").read_bytes())
    for ours, theirs in zip(load_pickle(tmp_path / "any.dat"), expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_lists_that_hold_themselves_are_refused(tmp_path):
    content = []
    content.append(content)
    (tmp_path / "any.dat").write_bytes(pickle.dumps([content, content]))
    with pytest.raises(PccloraError, match=r"any\.dat: refused, it is nested"):
        load_pickle(tmp_path / "any.dat")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=100))
def test_arbitrary_pickles_run_nothing(tmp_path, content):
    path = tmp_path / "any.dat"
    path.write_bytes(content)
    try:
        load_pickle(path)
    except PccloraError as error:
        assert "any.dat" in str(error)


@pytest.mark.parametrize("protocol", range(6))
def test_every_pickle_protocol_of_plain_content_is_read(tmp_path, protocol):
    content = {"train": [(CLOUD[0], 3, np.int64(4))], "names": ["a", "é"], "half": np.float32(0.5), "big": 2**80}
    path = tmp_path / "fewshot.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    loaded = load_pickle(path)
    np.testing.assert_array_equal(loaded["train"][0][0], CLOUD[0])
    assert loaded["train"][0][1:] == (3, 4) and loaded["names"] == ["a", "é"] and loaded["big"] == 2**80


def test_missing_roots_and_forms(tmp_path):
    for root, message in (("", "no root is given"), (tmp_path / "no", "does not exist"), (tmp_path, "in any form")):
        with pytest.raises(PccloraError, match=message) as caught:
            read_all(root)
        assert "datasets/modelnet40/README.md" in str(caught.value)
    (tmp_path / "file").touch()
    with pytest.raises(PccloraError, match="is not a folder"):
        read_all(tmp_path / "file")
    for form in ("prepared", "h5", "dat", "text"):
        with pytest.raises(PccloraError):
            read_all(tmp_path, form=form)
    with pytest.raises(PccloraError, match="no split 'val'"):
        read_all(tmp_path, split="val")
    with pytest.raises(PccloraError, match="classes is 41"):
        ModelNetConfig(classes=41)


def test_partseg(tmp_path):
    def read():
        return read_all(tmp_path, config=PartSegH5Config(root=str(tmp_path)))

    path = tmp_path / "ply_data_train0.h5"
    with pytest.raises(PccloraError, match=r"neither train_hdf5_file_list\.txt nor ply_data_train\*\.h5"):
        read()
    (tmp_path / "train_hdf5_file_list.txt").write_text("ply_data_train0.h5\n")
    with pytest.raises(PccloraError, match="absent"):
        read()
    rewrite_h5(path, data=CLOUD, label=LABEL, pid=np.zeros((2, 63), np.uint8))
    with pytest.raises(PccloraError, match=r"'pid' must be \(2, 64\)"):
        read()
    rewrite_h5(path, data=CLOUD, label=LABEL, pid=np.ones((2, 64), np.uint8))
    with pytest.raises(PccloraError, match=r"seg_classes\.json"):
        read()
    (tmp_path / "seg_classes.json").write_text("{")
    with pytest.raises(PccloraError, match="damaged"):
        read()
    (tmp_path / "seg_classes.json").write_text(json.dumps({"Airplane": [0, 1], "Bag": [2]}))
    with pytest.raises(PccloraError, match=r"train0\.h5\[0\]: part label 1 at point 0 .*class 0 has the parts 0"):
        (tmp_path / "seg_classes.json").write_text(json.dumps({"Airplane": [0], "Bag": [1]}))
        read()
    for parts in ([0, 1, 10**9], [0, 0], [-1, 0], [0] * 10**5):
        (tmp_path / "seg_classes.json").write_text(json.dumps({"Airplane": parts, "Bag": [2]}))
        with pytest.raises(PccloraError, match=r"class 'Airplane' has the parts .*numbers from 0 to 9,999") as caught:
            read()
        assert len(str(caught.value)) < 500
    (tmp_path / "seg_classes.json").write_text(json.dumps({"Airplane": [0, 1], "Bag": [2]}))
    assert [sample.part_labels.sum() for sample in read()] == [64, 64]


def test_what_the_classes_of_h5_files_are_made_of(tmp_path):
    def parts():
        return DATASETS.build(PartSegH5Config(root=str(tmp_path)), split="train").parts

    rewrite_h5(tmp_path / "ply_data_train0.h5", data=CLOUD, label=LABEL, pid=np.zeros((2, 64), np.uint8))
    (tmp_path / "all_object_categories.txt").write_text("Jug\t07\nAxe\t03\n")
    assert parts() is None
    (tmp_path / "overallid_to_catid_partid.json").write_text('[["07", 0], ["07", 1], ["03", 0]]')
    assert parts().of_class == ((0, 1), (2,)) and parts().names == ("Jug: part 0", "Jug: part 1", "Axe: part 2")
    for content in ('[["07", 0], 3]', "{}", "[[[], 0]]", json.dumps([["07", 0]] * 10_001), "[" * 100_000):
        (tmp_path / "overallid_to_catid_partid.json").write_text(content)
        with pytest.raises(PccloraError, match=r"overallid_to_catid_partid\.json: damaged"):
            parts()
    (tmp_path / "seg_classes.json").write_text('{"Axe": [0, 1], "Jug": [2]}')
    assert parts().of_class == ((2,), (0, 1))
    (tmp_path / "seg_classes.json").unlink()
    (tmp_path / "overallid_to_catid_partid.json").unlink()
    (tmp_path / "all_object_categories.txt").write_text("Jug\t07\nAxe\t03\nJug\t08\n")
    with pytest.raises(PccloraError, match=r"categories\.txt: class 'Jug' is named twice, as number 1 and 3"):
        parts()
    (tmp_path / "all_object_categories.txt").write_text("\n".join(SHAPENETPART))
    assert parts().of_class[-1] == (47, 48, 49) and parts().names[0] == "Airplane: body"

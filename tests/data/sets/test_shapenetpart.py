"""ShapeNetPart's official form, on a small tree that is made here and on real files."""

import json
import pickle
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from pcclora.data import PartSegH5Config, ShapeNetPartConfig, make_loader, normalize_unit_sphere
from pcclora.data.sets.seg_classes import SHAPENETPART, number_parts
from pcclora.errors import PccloraError
from pcclora.registry import DATASETS
from pcclora.tensor_file import read_tensors, write_tensors
from pcclora.tools.prepare import shapenetpart as prepare

ROOT = Path(__file__).resolve().parents[3]
SYNSETS = (
    "02691156 02773838 02954340 02958343 03001627 03261776 03467517 03624134 "
    "03636649 03642806 03790512 03797390 03948459 04099429 04225987 04379243"
).split()
LISTS = {
    "train": ["02954340/aa", "04379243/bb", "02954340/cc"],
    "val": ["02954340/dd", "04379243/bb"],  # as in the official lists, an object may be in two
    "test": ["04225987/ee"],
}
PARTS = {"02954340": (6, 7), "04379243": (47, 48, 49), "04225987": (44, 45, 46)}


@pytest.fixture
def tree(tmp_path):
    """Three categories' files in the official form, of 40 points and more; the list of categories is whole."""
    lines = [f"{name}\t{synset}" for name, synset in zip(SHAPENETPART, SYNSETS, strict=True)]
    (tmp_path / "synsetoffset2category.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "train_test_split").mkdir()
    rng = np.random.default_rng(0)
    for split, names in LISTS.items():
        listed = tmp_path / "train_test_split" / f"shuffled_{split}_file_list.json"
        listed.write_text(json.dumps([f"shape_data/{name}" for name in names]))
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            count = 40 + len(list(tmp_path.glob("*/*.txt")))
            table = np.column_stack([rng.uniform(-1, 1, (count, 6)), rng.choice(PARTS[name[:8]], count)])
            np.savetxt(tmp_path / f"{name}.txt", table, fmt="%.6f")
    return tmp_path


def open_split(root, split="train", **settings):
    return DATASETS.build(ShapeNetPartConfig(root=str(root), **settings), split=split)


def samples(dataset):
    return [dataset[index] for index in range(len(dataset))]


def test_official_form(tree):
    data = open_split(tree, normalize=False)
    assert data.class_names == tuple(SHAPENETPART) and data.labels.tolist() == [2, 15, 2]
    assert data.parts.of_class[2] == (6, 7) and data.parts.names[6:8] == ("Cap: crown", "Cap: peak")
    table = np.loadtxt(tree / "04379243" / "bb.txt")
    np.testing.assert_array_equal(data[1].points, table[:, :3].astype(np.float32))
    np.testing.assert_array_equal(data[1].part_labels, table[:, 6])
    assert data[1].path == str(tree / "04379243" / "bb.txt")
    scaled = open_split(tree)[1].points
    np.testing.assert_array_equal(scaled, normalize_unit_sphere(table[:, :3].astype(np.float32)))


def test_the_parts_are_numbered_as_the_benchmark_does():
    first = [0, 4, 6, 8, 12, 16, 19, 22, 24, 28, 30, 36, 38, 41, 44, 47]
    parts = number_parts(SHAPENETPART)
    assert [numbers[0] for numbers in parts.of_class] == first and len(parts.names) == 50


def test_train_with_val_takes_an_object_of_both_lists_once(tree):
    data = open_split(tree, train_with_val=True)
    assert [Path(sample.path).stem for sample in samples(data)] == ["aa", "bb", "cc", "dd"]
    assert [len(open_split(tree, split, train_with_val=True)) for split in ("val", "test")] == [2, 1]


def test_a_prepared_file_holds_the_same_samples_to_the_bit(tree, capsys):
    prepare.main([str(tree), "--incomplete"])
    assert "3 objects of 2 categories in the form 'text'; wrote" in capsys.readouterr().out
    for split, settings in (("train", {"train_with_val": True}), ("test", {"normalize": False})):
        slow, fast = (open_split(tree, split, form=form, **settings) for form in ("text", "auto"))
        assert (slow.form, fast.form) == ("text", "prepared") and fast.parts == slow.parts
        assert fast.class_names == slow.class_names and fast.labels.tolist() == slow.labels.tolist()
        for ours, theirs in zip(samples(fast), samples(slow), strict=True):
            np.testing.assert_array_equal(ours.points, theirs.points)
            np.testing.assert_array_equal(ours.part_labels, theirs.part_labels)
            assert ours.points.dtype == np.float32 and ours.part_labels.dtype == np.int64
    copy = pickle.loads(pickle.dumps(fast))
    np.testing.assert_array_equal(copy[0].points, fast[0].points)
    prepare.main([str(tree), "--incomplete"])
    assert "nothing to do" in capsys.readouterr().out


def test_prepare_verifies_the_official_counts(tree):
    before = sorted(tree.rglob("*"))
    with pytest.raises(PccloraError, match=r"train: 3 objects, 12137 are expected \(Airplane 0 for 1958"):
        prepare.main([str(tree)])
    prepare.main([str(tree), "--incomplete", "--check"])
    assert sorted(tree.rglob("*")) == before


def test_the_counts_are_those_of_the_official_lists_and_of_the_card(shared_data):
    folder = shared_data / "shapenetpart_real_files" / "train_test_split"
    for split, expected in prepare.EXPECTED.items():
        listed = json.loads((folder / f"shuffled_{split}_file_list.json").read_text())
        assert tuple(sum(f"/{synset}/" in path for path in listed) for synset in SYNSETS) == expected
    card = (ROOT / "datasets" / "shapenetpart" / "README.md").read_text()
    for name, *counts in zip(SHAPENETPART, *prepare.EXPECTED.values(), strict=True):
        (row,) = [line for line in card.splitlines() if line.startswith(f"| {name} |")]
        assert row.endswith("| " + " | ".join(f"{count:,}" for count in counts) + " |")


@pytest.mark.filterwarnings("ignore:shapenetpart")
def test_real_files_and_what_is_absent(shared_data):
    root = shared_data / "shapenetpart_real_files"
    with pytest.raises(PccloraError, match=r"2862 of 2874 files are absent: .*\.txt, \.\.\.;.*data\.incomplete=true"):
        open_split(root, "test")
    data = {split: open_split(root, split, incomplete=True) for split in LISTS}
    assert [len(each) for each in data.values()] == [3, 5, 12]
    crowns = [
        sample.points[sample.part_labels == 6, 1].mean() > sample.points[sample.part_labels == 7, 1].mean()
        for sample in samples(data["test"])
        if sample.label == 2
    ]
    assert np.mean(crowns) > 0.8  # the crown of a cap is above its peak; one lies upside down
    with pytest.warns(UserWarning, match="2862 of 2874 objects are absent and left out"):
        open_split(root, "test", incomplete=True)


def test_real_relics_agree_in_both_forms(shared_data):
    text = open_split(shared_data / "relics_partanno_v0_normal", "test")
    h5 = DATASETS.build(PartSegH5Config(root=str(shared_data / "relics_partseg_hdf5")), split="test")
    assert text.class_names == h5.class_names and text.parts == h5.parts and len(text.parts.names) == 43
    shares = {tuple(np.bincount(sample.part_labels, minlength=43)) for sample in samples(h5)}
    assert {tuple(np.bincount(sample.part_labels, minlength=43)) for sample in samples(text)} <= shares
    batch = next(iter(make_loader(h5, points=128, batch_size=4, train=False, whole=True, sampling="random")))
    assert batch["query"].shape == (4, 2048, 3) and h5.parts.mask[batch["labels"][0], batch["part_labels"][0]].all()


def rewrite(change):
    def damage(tree):
        path = tree / "02954340" / "aa.txt"
        np.savetxt(path, change(np.loadtxt(path)), fmt="%.6f")

    return damage


def put(row, column, value):
    def change(table):
        table[row, column] = value
        return table

    return rewrite(change)


DAMAGE = {
    "six columns": (rewrite(lambda table: table[:, :6]), r"aa\.txt: 6 columns; 7 are expected \(x y z, normal"),
    "eight columns": (rewrite(lambda table: np.c_[table, table[:, 6]]), r"aa\.txt: 8 columns"),
    "nan": (put(5, 1, np.nan), r"aa\.txt: 1 points are NaN or infinite, the first is point 5"),
    "nan label": (put(5, 6, np.nan), r"aa\.txt: part label nan at point 5 is no whole number"),
    "half a label": (put(5, 6, 6.5), r"aa\.txt: part label 6.5 at point 5"),
    "label of another class": (put(5, 6, 9), r"aa\.txt: part label 9 at point 5 .*class 2 has the parts 6, 7"),
    "negative label": (put(5, 6, -1), r"aa\.txt: part label -1 at point 5"),
    "empty": (lambda tree: (tree / "02954340/aa.txt").write_text(""), r"aa\.txt: the file is empty"),
    "page": (lambda tree: (tree / "02954340/aa.txt").write_text("<html>moved</html>"), r"aa\.txt: this is a web page"),
    "absent": (lambda tree: (tree / "02954340/aa.txt").unlink(), r"1 of 3 files are absent: .*aa\.txt; complete"),
    "no split": (
        lambda tree: (tree / "train_test_split/shuffled_train_file_list.json").unlink(),
        r"1 of 2 files are absent: .*shuffled_train_file_list\.json; see .*datasets/shapenetpart",
    ),
    "no categories": (lambda tree: (tree / "synsetoffset2category.txt").unlink(), r"synsetoffset2category\.txt"),
    "cut list": (
        lambda tree: (tree / "train_test_split/shuffled_train_file_list.json").write_text('["shape'),
        r"shuffled_train_file_list\.json: damaged",
    ),
    "empty list": (
        lambda tree: (tree / "train_test_split/shuffled_train_file_list.json").write_text("[]"),
        r"shuffled_train_file_list\.json: damaged.*no names in it",
    ),
    "endless list": (
        lambda tree: (tree / "train_test_split/shuffled_train_file_list.json").write_text("[" * 100_000),
        r"shuffled_train_file_list\.json: damaged.*nested too deeply",
    ),
    "list of a dict": (
        lambda tree: (tree / "train_test_split/shuffled_train_file_list.json").write_text('{"02954340/aa": 1}'),
        r"shuffled_train_file_list\.json: damaged.*a list of names is expected",
    ),
    "long name": (
        lambda tree: (tree / "train_test_split/shuffled_train_file_list.json").write_text(
            f'["shape_data/02954340/{"x" * 300}", "shape_data/02954340/a\\u0000"]'
        ),
        r"2 of 2 files are absent: .*xxx\.txt",
    ),
    "a class twice": (
        lambda tree: (tree / "synsetoffset2category.txt").write_text("Cap\t02954340\nTable\t1\nCap\t04379243\n"),
        r"synsetoffset2category\.txt: class 'Cap' is named twice, as number 1 and 3",
    ),
    "endless seg_classes": (
        lambda tree: (tree / "seg_classes.json").write_text('{"Cap":' * 100_000),
        r"seg_classes\.json: damaged.*nested too deeply",
    ),
    "unknown synset": (
        lambda tree: (tree / "train_test_split/shuffled_train_file_list.json").write_text('["shape_data/1/a"]'),
        r"'shape_data/1/a' is of no class of synsetoffset2category\.txt",
    ),
    "other classes": (
        lambda tree: (tree / "synsetoffset2category.txt").write_text("Hat\t02954340\nDesk\t04379243\n"),
        r"seg_classes\.json: absent, and these classes are not ShapeNetPart's",
    ),
    "wrong seg_classes": (
        lambda tree: (tree / "seg_classes.json").write_text('{"Cap": [6, 7]}'),
        r"seg_classes\.json: no parts of class 'Airplane'; it has Cap",
    ),
    "strange seg_classes": (
        lambda tree: (tree / "seg_classes.json").write_text('{"Cap": 6}'),
        r'seg_classes\.json: \{"class": \[part labels\], \.\.\.\} is expected',
    ),
}


@pytest.mark.filterwarnings("ignore:shapenetpart train. 1 of 3 objects")
@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_one_error_and_writes_nothing(kind, tree):
    damage, message = DAMAGE[kind]
    damage(tree)
    with pytest.raises(PccloraError, match=message):
        samples(open_split(tree))
    with nullcontext() if kind == "absent" else pytest.raises(PccloraError, match="train: "):
        prepare.main([str(tree), "--incomplete"])
    assert (tree / "shapenetpart_train.safetensors").exists() == (kind == "absent")


def test_a_file_prepared_from_a_part_of_the_objects_says_so(tree):
    (tree / "02954340" / "aa.txt").unlink()
    with pytest.warns(UserWarning, match="1 of 3 objects are absent"):
        prepare.main([str(tree), "--incomplete"])
    with pytest.raises(PccloraError, match=r"made of 2 of 3 listed objects.*data\.incomplete=true"):
        open_split(tree)
    with pytest.warns(UserWarning, match="1 of 3 objects are absent"):
        assert len(open_split(tree, incomplete=True)) == 2
    np.savetxt(tree / "02954340" / "aa.txt", np.full((40, 7), 6.0), fmt="%.6f")
    prepare.main([str(tree), "--incomplete"])
    assert len(open_split(tree)) == 3


def test_a_damaged_prepared_file_is_refused(tree):
    prepare.main([str(tree), "--incomplete"])
    path = tree / "shapenetpart_train.safetensors"
    for content in (path.read_bytes()[:-10], b"", bytes(range(64))):
        path.write_bytes(content)
        with pytest.raises(PccloraError, match=r"shapenetpart_train.safetensors.*run pcclora prepare again"):
            open_split(tree)
    with pytest.raises(PccloraError, match=r"train: .*delete it and run pcclora prepare again"):
        prepare.main([str(tree), "--incomplete"])
    path.unlink()  # the remedy
    prepare.main([str(tree), "--incomplete"])
    tensors, header = read_tensors(path, remedy="")
    ends, listed = tensors["ends"], header["listed"]
    for name, value, message in (
        ("ends", ends.flip(0), "clouds do not follow each other"),
        ("ends", ends + 1, "clouds do not follow each other"),
        ("ends", ends[:-1], r"'ends' is torch.int64 \(3,\), torch.int64 \(4\) is needed"),
        ("part_labels", tensors["part_labels"][1:], "'part_labels' is torch.int16"),
        ("part_labels", tensors["part_labels"].float(), "'part_labels' is torch.float32"),
        ("labels", tensors["labels"].float(), "'labels' is torch.float32"),
        ("names", '["a"]', f"3 clouds, 1 names, {listed} listed"),
        ("listed", "2", "3 clouds, 3 names, 2 listed"),
        ("listed", "true", "listed is True, a whole number is needed"),
        ("parts", '[["a"], [[9]]]', "what its classes are made of cannot be so"),
        ("parts", '[["a"]]', "what its classes are made of cannot be so"),
        ("parts", '[["a"], [[0]]]', "the parts of 1 classes for 16"),
        ("parts", "3", "parts is 3, a list is needed"),
    ):
        if isinstance(value, str):
            write_tensors(path, tensors, header | {name: value})
        else:
            write_tensors(path, tensors | {name: value.contiguous()}, header)
        with pytest.raises(PccloraError, match=rf"shapenetpart_train\.safetensors.*{message}"):
            open_split(tree)
    with pytest.raises(PccloraError, match="no split 'valid'"):
        open_split(tree, "valid")
    with pytest.raises(PccloraError, match="none of 3 files is there"):
        for path in tree.glob("*/*.txt"):
            path.unlink()
        open_split(tree, form="text", incomplete=True)

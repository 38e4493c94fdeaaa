from pathlib import Path

import pytest

from pcclora.data.sets.fgvc import TASKS as FGVC_TASKS
from pcclora.data.sets.vtab1k import TASKS as VTAB_TASKS
from pcclora.errors import PccloraError
from pcclora.tools.prepare import fgvc, vtab1k
from tests.data.image_trees import fgvc_set, vtab_task

FOLDER = Path(__file__).resolve().parents[3] / "datasets"
SMALL = ["--incomplete", "--jobs", "1"]


def wrong(main, *arguments):
    """Return what `pcclora prepare` names as wrong."""
    with pytest.raises(PccloraError) as error:
        main(list(map(str, arguments)))
    return str(error.value)


def test_every_task_has_its_official_counts():
    assert list(vtab1k.TEST) == list(VTAB_TASKS) and list(fgvc.COUNTS) == list(FGVC_TASKS)
    for name, counts in (("vtab1k", vtab1k.TEST), ("fgvc", fgvc.COUNTS)):
        card = (FOLDER / name / "README.md").read_text()
        rows = {line.split("|")[1].strip(): line for line in card.splitlines() if line.startswith("| ")}
        for task, numbers in counts.items():
            classes = (VTAB_TASKS | FGVC_TASKS)[task].classes
            for number in (classes, *(numbers if isinstance(numbers, tuple) else (numbers,))):
                assert f"| {number:,} |" in rows[task], (task, number)


def test_a_whole_task_is_described(tmp_path, capsys):
    vtab_task(tmp_path, "patch_camelyon")
    vtab1k.main([str(tmp_path), "--tasks", "patch_camelyon", *SMALL])
    assert (
        "train800 8, val200 4, train800val200 12, test 6 images of 2 classes, each decoded" in capsys.readouterr().out
    )


def test_everything_that_is_wrong_with_a_task_is_named(tmp_path, capsys):
    task = vtab_task(tmp_path, "patch_camelyon")
    (task / "images" / "test" / "000002.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    (task / "images" / "val200" / "000001.jpg").unlink()
    with (task / "test.txt").open("a") as file:
        file.write("images/test/000000.jpg 5\n")
    report = wrong(vtab1k.main, str(tmp_path), "--tasks", "patch_camelyon", "--jobs", "1")
    for part in (
        "7 problems",
        "train800.txt names 8 images, 800 are expected",
        "test.txt names 7 images, 32,768 are expected",
        "test.txt, line 7: label 5 is not in 0..1",
        "test.txt, line 3:",
        "val200.txt, line 2:",
        "## Where to get it",
    ):
        assert part in report, part


def test_absent_tasks_and_lists_that_do_not_belong_together_are_named(tmp_path, capsys):
    task = vtab_task(tmp_path, "svhn")
    (task / "train800val200.txt").write_text((task / "train800.txt").read_text())
    report = wrong(vtab1k.main, str(tmp_path), *SMALL)
    assert "train800val200.txt has not the classes of train800.txt and val200.txt together" in report
    assert report.count("does not exist") == 18


@pytest.mark.slow
def test_several_processes_find_the_same(tmp_path, capsys):
    task = vtab_task(tmp_path, "own")
    (task / "images" / "test" / "000002.jpg").write_bytes(b"")
    report = wrong(vtab1k.main, str(tmp_path), "--tasks", "own", "--incomplete", "--jobs", "2")
    assert "1 problems\n  " in report and "test.txt, line 3" in report


def test_fgvc_is_checked_alike(tmp_path, capsys):
    folder = fgvc_set(tmp_path, "Stanford-dogs", "Images", ["n1-a/", "n2-b/"])
    fgvc.main([str(tmp_path), "--tasks", "stanford_dogs", *SMALL])
    assert "train 4, val 2, test 2 images of 2 classes, each decoded" in capsys.readouterr().out
    (folder / "Images" / "n1-a" / "test_0_0.jpg").write_bytes(b"")
    report = wrong(fgvc.main, str(tmp_path), "--tasks", "stanford_dogs", "--jobs", "1")
    assert "train.json has 2 classes, 120 are expected" in report and "test_0_0.jpg: the file is empty" in report
    assert "5 problems" in report and "fgvc_split.zip" in report


def test_no_process_is_none(tmp_path):
    vtab_task(tmp_path, "own")
    assert "own: jobs is 0" in wrong(vtab1k.main, str(tmp_path), "--tasks", "own", "--incomplete", "--jobs", "0")

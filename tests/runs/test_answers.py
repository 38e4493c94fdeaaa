"""Which test objects a classification run is judged by first, and how its final table tells of them."""

import pytest

from pcclora.atomic import write_json
from pcclora.engine.run_folder import RunFolder, write_rows
from pcclora.errors import PccloraError
from pcclora.runs.answers import answers_of, remarkable, surest
from pcclora.runs.report import evaluation_table, run_table
from tests.runs.summaries import summary

ROWS = [(0, 1, 1, 0.5), (1, 0, 1, 0.9), (2, 2, 2, 0.99), (3, 2, 2, 0.7), (4, 1, 0, 0.95)]
HEADER = ["index", "path", "label", "prediction", "confidence"]


def folder_of(path, rows=ROWS, names=True, **changes):
    named = [[index, f"test/{'long' * 20 * (index == 4)}/{index}.ply", *rest] for index, *rest in rows]
    plain = [HEADER[0], *HEADER[2:]]
    path.mkdir(exist_ok=True)
    write_rows(path / "predictions.csv", HEADER if names else plain, named if names else rows)
    write_json(path / "summary.json", summary(**({"samples": {"train": 12, "test": len(rows)}} | changes)))
    return RunFolder(path)


def indices(answers):
    return [answer.index for answer in answers]


def test_the_surest_come_first_right_and_wrong_apart(tmp_path):
    answers = answers_of(folder_of(tmp_path))
    assert indices(surest(answers, right=True)) == [2, 3, 0]
    assert indices(surest(answers, right=False)) == [4, 1]
    assert indices(surest(answers, right=True, count=1)) == [2]
    assert (answers[4].truth, answers[4].guess, answers[1].name) == ("box", "ball", "test//1.ply")


def test_nothing_is_shown_twice(tmp_path):
    chosen = remarkable(folder_of(tmp_path), count=2)
    assert [indices(own) for own in chosen.values()] == [[4, 1], [2, 3], [0]]
    assert [indices(own) for own in remarkable(folder_of(tmp_path), count=1).values()] == [[4], [2], [0]]


def test_a_run_that_wrote_no_names_is_read(tmp_path):
    folder = folder_of(tmp_path, names=False)
    assert {answer.name for answer in answers_of(folder)} == {""}
    assert "  95%  box -> ball  test object 4\n" in run_table(folder.read_summary(), tmp_path)


def test_predictions_of_parts_are_refused(tmp_path):
    rows = [(0, 1, 0.5, 2)]
    write_rows(tmp_path / "predictions.csv", ["index", "label", "miou", "parts"], rows)
    held = summary(samples={"train": 12, "test": 1}, categories={"box": {"iou": 0.5, "shapes": 1}})
    write_json(tmp_path / "summary.json", held)
    with pytest.raises(PccloraError, match="a classification run is needed here"):
        answers_of(RunFolder(tmp_path))


def test_the_table_names_pictures_and_the_surest_wrong_answers(tmp_path):
    many = [*ROWS, *((index, 0, 2, 0.4) for index in range(5, 12))]
    folder = folder_of(tmp_path, many)
    (tmp_path / "gallery.png").write_bytes(b"")
    (tmp_path / "curves.png").write_bytes(b"")
    table = run_table(folder.read_summary(), tmp_path)
    lines = table.splitlines()
    assert max(map(len, lines)) <= 80
    assert "pictures               curves.png, gallery.png" in lines
    start = lines.index("9 wrong answers, the surest of them: true class -> predicted class, file")
    assert lines[start + 1].startswith("  95%  box -> ball  …") and lines[start + 1].endswith("long/4.ply")
    assert lines[start + 2] == "  90%  ball -> box  test//1.ply"
    assert len([line for line in lines if " -> " in line]) == 1 + 5


def test_a_run_without_errors_says_nothing_of_them(tmp_path):
    folder = folder_of(tmp_path, [(0, 1, 1, 0.5), (1, 0, 0, 0.9)])
    assert "wrong" not in run_table(folder.read_summary(), tmp_path)


def test_an_evaluation_tells_of_its_own_answers(tmp_path):
    """Those of the folder that it was written to, not of the run."""
    run, again = folder_of(tmp_path / "run"), folder_of(tmp_path / "again", ROWS[:2], samples={"test": 2})
    held = run.read_summary()
    assert "wrong" not in evaluation_table(held, run.path)
    assert "1 wrong answer: " in evaluation_table(held, run.path, output=again.path)


def test_several_seeds_have_no_answers_of_their_own(tmp_path):
    write_json(tmp_path / "summary.json", summary())
    assert "wrong" not in run_table(summary(), tmp_path)

"""Damaged files of every kind end in one clear error or are read to finite numbers: never in a traceback or a hang.

A short run with a fixed seed is part of the tests. The long one, with a table of what came of each kind:

    make trials          # or: python -m pytest tests/robustness/test_fuzz.py -m long -s

``PCCLORA_FUZZ_SEED`` draws other damage, ``PCCLORA_FUZZ_COUNT`` more of it for each kind.
"""

import os
import shutil
from collections import Counter
from random import Random

import pytest

from pcclora.data.readers import READERS
from tests.robustness.guard import FAULTS, READ, REFUSED, Guard
from tests.robustness.kinds import IMAGES, POINTS, SETS
from tests.robustness.mutate import mutate
from tests.robustness.run_kinds import RUNS

KINDS = POINTS | IMAGES | SETS | RUNS
UNREAD = {name for name in POINTS if f".{name.split()[0]}" not in READERS}
SEED = int(os.environ.get("PCCLORA_FUZZ_SEED", "1"))
SHORT, LONG = 3, int(os.environ.get("PCCLORA_FUZZ_COUNT", "40"))
WRONG = "wrong"
"""Read, though a checksum or a count in the file says that it is not what was written."""
COLUMNS = (READ, REFUSED, WRONG, *FAULTS)
SLOW = {
    "resumed",
    "resumed checkpoint",
    "summary",
    "summary parts",
    "predictions",
    "predictions parts",
    "run tables",
    "pack",
}


def test_every_format_of_points_is_tried():
    assert {f".{name.split()[0]}" for name in POINTS} >= set(READERS)


@pytest.fixture(scope="module")
def guard():
    guard = Guard()
    yield guard
    guard.close()


@pytest.fixture(scope="module")
def seeds(tmp_path_factory, guard):
    """The folder of each kind as it is, and what is read of it."""
    home = tmp_path_factory.mktemp("seeds")

    def seed(name):
        folder = home / name
        if not folder.exists():
            folder.mkdir()
            KINDS[name].make(folder)
        return folder

    return seed


def damaged_files(kind, folder):
    found = [sorted(folder.glob(pattern)) for pattern in kind.damaged]
    assert all(found), f"{kind.damaged} not in {folder}"
    return found


def trial(name, number, seeds, guard, whole, folder):
    """Damage one file of a kind and read it: the class of what came of it, and a line that tells all."""
    kind, draw = KINDS[name], Random(f"{SEED} {name} {number}")
    shutil.copytree(seeds(name), folder)
    file = draw.choice(draw.choice(damaged_files(kind, folder)))
    others = [path.read_bytes() for path in (seeds("png") / "a.png", seeds("npz") / "a.npz", seeds("txt") / "a.txt")]
    how, content = mutate(file.read_bytes(), draw, others)
    before = file.read_bytes()
    file.write_bytes(content)
    outcome = guard.run(kind.read, folder)
    what = outcome.what
    cut_short = kind.counted and before.startswith(content) and content.strip() != before.strip()
    if what == READ and (kind.checked or cut_short) and outcome.digest != whole[name]:
        what = WRONG
    if outcome.started:
        what, how = "traceback", f"{how}, started {outcome.started}"
    shutil.rmtree(folder)
    return what, f"{name} {number}: {what}: {how} of {file.relative_to(folder)}: {outcome.detail}"


def fuzz(names, count, seeds, guard, tmp_path):
    whole, found, bad = {}, {name: Counter() for name in names}, []
    for name in names:
        shutil.copytree(seeds(name), tmp_path / "whole")
        first = guard.run(KINDS[name].read, tmp_path / "whole")
        shutil.rmtree(tmp_path / "whole")
        assert first.what == READ, f"{name} as it is: {first}"
        whole[name] = first.digest
        for number in range(max(count // 4, 1) if name in SLOW else count):
            what, told = trial(name, number, seeds, guard, whole, tmp_path / "damaged")
            found[name][what] += 1
            if what not in (READ, REFUSED):
                bad.append(told)
    return found, bad


def table(found):
    wide = max(map(len, found)) + 2
    total = sum(found.values(), Counter())
    rows = [("kind", [*COLUMNS, "all"])]
    rows += [
        (name, [str(held[column] or ".") for column in COLUMNS] + [str(held.total())])
        for name, held in [*found.items(), ("all kinds", total)]
    ]
    return "\n".join(f"{name:<{wide}}" + "".join(f"{cell:>12}" for cell in cells) for name, cells in rows)


@pytest.mark.slow
def test_a_little_damage_of_every_kind(seeds, guard, tmp_path):
    names = [name for name in KINDS if name not in UNREAD]
    found, bad = fuzz(names, SHORT, seeds, guard, tmp_path)
    assert sum(found.values(), Counter()).total() > 150
    assert not bad, "\n".join(bad)


@pytest.mark.long
def test_much_damage_of_every_kind(seeds, guard, tmp_path, capsys):
    names = [name for name in KINDS if name not in UNREAD]
    found, bad = fuzz(names, LONG, seeds, guard, tmp_path)
    with capsys.disabled():
        print(f"\n{table(found)}\n" + "\n".join(bad))
    assert sum(found.values(), Counter()).total() >= 1000
    assert not bad, f"{len(bad)} outcomes that must not be"

"""Several seeds of a run: what is read of the folder that holds them."""

import pytest

from pcclora.errors import PccloraError
from pcclora.studies.seeds import resume_seeds, train_seeds
from pcclora.tasks.registry import load_run_config
from tests.tools.test_tools import TINY


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[0, 1]", "one JSON object is expected"),
        ("{}", "there is no seeds"),
        ('{"seeds": 3}', "seeds is 3, a list is needed"),
        ('{"seeds": "01"}', "seeds is '01', a list is needed"),
        ('{"seeds": [0, 1.5]}', r"seeds\[1\] is 1.5, a whole number"),
        ('{"seeds": [0, -1]}', r"seeds are \[0, -1\]"),
        ('{"seeds": []}', r"seeds are \[\]"),
    ],
)
def test_damaged_seeds_are_named(tmp_path, text, message):
    (tmp_path / "seeds.json").write_text(text)
    with pytest.raises(PccloraError, match=rf"seeds\.json: .*{message}"):
        resume_seeds(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["seeds.json"]


def test_a_seed_that_no_run_can_have_begins_nothing(tmp_path):
    with pytest.raises(PccloraError, match=r"--seeds 1 9223372036854775808: .* from 0 to 9223372036854775807"):
        train_seeds(load_run_config(TINY / "cls.yaml"), tmp_path / "seeds", seeds=[1, 2**63])
    assert not (tmp_path / "seeds").exists()

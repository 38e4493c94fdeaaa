"""How a run's model cuts a cloud, as pictures show it."""

import pytest

from pcclora.errors import PccloraError
from pcclora.models import PointNetConfig
from pcclora.tasks.settings import ClassificationRun
from pcclora.vis.tokens import Tokens, tokens_of


def test_a_model_without_tokens_is_named():
    with pytest.raises(PccloraError, match="model 'pointnet' cuts clouds into no tokens"):
        tokens_of(ClassificationRun(model=PointNetConfig()))
    assert tokens_of(ClassificationRun()) == Tokens(num_groups=32, group_size=32, points=1024)

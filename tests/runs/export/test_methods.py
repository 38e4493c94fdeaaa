"""Every method, exported: merged where the weights take it up, else in the graph; other sizes than the traced ones."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import pcclora
from pcclora.errors import PccloraError
from pcclora.runs.export.network import Network, absorb_adapter, network_of
from pcclora.runs.export.targets import TARGETS
from tests.adapters.cases import attached, refuses

pytestmark = pytest.mark.slow
pytest.importorskip("onnxruntime", reason="pip install pcclora[export]")

LACKING: dict[tuple[str, str], str] = {}
"""Method and target -> the operator that the target does not have."""
PARTS = ("ppt", "vpt_deep")
CASES = [(m, "timm_vit" if refuses(m, "point_mae_tiny") else "point_mae_tiny") for m in pcclora.list_adapters()]
TASKS = {"point_mae_tiny": "cls", "timm_vit": "image", "part_segmenter": "partseg"}


def prepared(method: str, backbone: str) -> tuple[Network, Tensor, Tensor]:
    """A trained method's network, a batch of it, and what it answered before its adapter was merged."""
    model, _, x = attached(method, backbone, steps=2)
    points = x.shape[1] if backbone == "point_mae_tiny" else 0
    more = torch.cat([x, x[:1]])
    more = torch.cat([more, more[:, :3]], dim=1) if points else more
    eager = network_of(model, TASKS[backbone], points=points)([more])
    absorb_adapter(model)
    return network_of(model, TASKS[backbone], points=points), more, eager


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("method", "backbone"), CASES)
def test_it_answers_as_it_did(method: str, backbone: str, target: str, tmp_path: Path) -> None:
    network, x, eager = prepared(method, backbone)
    file = tmp_path / TARGETS[target].file
    traced = (x[:2, :32] if backbone == "point_mae_tiny" else x[:2],)
    if operator := LACKING.get((method, target)):
        with pytest.raises(PccloraError, match=f"--to {target}: there is no operator for {operator}"):
            TARGETS[target].write(network, traced, file)
        return
    TARGETS[target].write(network, traced, file)
    torch.testing.assert_close(TARGETS[target].open(file)([x]), eager, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("method", "backbone"), CASES)
def test_what_merges_leaves_a_plain_model(method: str, backbone: str) -> None:
    model, adapter, x = attached(method, backbone, steps=2)
    before = model(x).detach()
    merges = adapter.mergeable
    assert absorb_adapter(model) is merges and hasattr(model, "adapters") is not merges
    torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-4)

"""Every method, exported: merged where the weights take it up, else in the graph; other sizes than the traced ones."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import pcclora
from pcclora.errors import PccloraError
from pcclora.runs.export.network import absorb_adapter, network_of
from pcclora.runs.export.targets import TARGETS
from tests.adapters.cases import attached, refuses

pytestmark = pytest.mark.slow
pytest.importorskip("onnxruntime", reason="pip install pcclora[export]")

LACKING = {("pointgst", "onnx"): r"aten\.\w*linalg_eigh"}
"""Method and target -> the operator that the target does not have."""
CASES = [(m, "timm_vit" if refuses(m, "point_mae_tiny") else "point_mae_tiny") for m in pcclora.list_adapters()]
IN_THE_GRAPH = {
    *("adapter", "adapter_plus", "adaptformer", "convpass", "dapt", "gaprompt", "houlsby"),
    *("idpt", "pointgst", "pointlora", "ppt", "stag", "vpt_deep"),
}
"""The methods that no weight can take up. What is left of another is the plain model, so one of them is exported."""
EXPORTED = [case for case in CASES if case[0] in {*IN_THE_GRAPH, "clora"}]


def batches(x: Tensor) -> tuple[Tensor, Tensor]:
    """A batch to trace with, and one of other sizes: more samples, and of clouds more points."""
    if x.ndim != 3:
        return x[:2], torch.cat([x, x[:1]])
    x = torch.cat([x, x[:, :3]], dim=1)  # more points than any group of a method has
    return x[:2], torch.cat([x, x[:1]])[:, torch.arange(x.shape[1] + 4) % x.shape[1]]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("method", "backbone"), EXPORTED)
def test_it_answers_as_it_did(method: str, backbone: str, target: str, tmp_path: Path) -> None:
    model, _, x = attached(method, backbone, steps=2)
    traced, others = batches(x)
    least, task = (33, "cls") if x.ndim == 3 else (0, "image")
    eager = network_of(model, task, points=least)([others])
    absorb_adapter(model)
    network, file = network_of(model, task, points=least), tmp_path / TARGETS[target].file
    if operator := LACKING.get((method, target)):
        with pytest.raises(PccloraError, match=f"--to {target}: there is no operator for {operator}"):
            TARGETS[target].write(network, [traced], file)
        return
    TARGETS[target].write(network, [traced], file)
    torch.testing.assert_close(TARGETS[target].open(file)([others]), eager, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("method", "backbone"), CASES)
def test_what_merges_leaves_a_plain_model(method: str, backbone: str) -> None:
    model, adapter, x = attached(method, backbone, steps=2)
    before = model(x).detach()
    merges = adapter.mergeable
    assert merges is (method not in IN_THE_GRAPH)
    assert absorb_adapter(model) is merges and hasattr(model, "adapters") is not merges
    torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-4)

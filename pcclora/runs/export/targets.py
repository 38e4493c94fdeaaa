"""What a model is exported to. Each target writes one file, and opens it as a stranger would: without this package."""

import logging
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from pcclora.errors import PccloraError
from pcclora.extras import pip_line
from pcclora.runs.export.network import Network

Run = Callable[[Sequence[Tensor]], Tensor]
_NO_OPERATOR = re.compile(r"No ONNX function found for <OpOverload\(op='([\w.]+)'")


class Target(ABC):
    """A form of exported models.

    Attributes:
        name: As ``--to`` has it.
        file: What the model is called.
        needs: The packages that write or run it, whose versions are noted.
        runs_on: What runs it.
        example: How a program with numpy arrays calls it: lines that define ``logits(**inputs)``.
    """

    name: ClassVar[str]
    file: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    runs_on: ClassVar[str]
    example: ClassVar[str]

    def require(self) -> None:
        """Refuse to begin without the packages that it needs.

        Raises:
            PccloraError: With the line that installs them.
        """
        if missing := [package for package in self.needs if find_spec(package) is None]:
            raise PccloraError(f"--to {self.name}: {', '.join(missing)} not installed: {pip_line('export')}")

    def versions(self) -> dict[str, str | int]:
        """Return what a file depends on."""
        return {package: version(package) for package in self.needs}

    @abstractmethod
    def write(self, network: Network, inputs: Sequence[Tensor], path: Path) -> None:
        """Write a network.

        Args:
            network: It.
            inputs: A batch to trace it with.
            path: The file.

        Raises:
            PccloraError: If the target has not all operators of the network.
        """

    @abstractmethod
    def open(self, path: Path) -> Run:
        """Return what a written file computes."""


class Onnx(Target):
    """ONNX, in the operator set of torch's exporter."""

    name, file = "onnx", "model.onnx"
    needs, runs_on = ("torch", "onnx", "onnxscript", "onnxruntime"), "onnxruntime"
    example = """session = onnxruntime.InferenceSession(here / "model.onnx")


def logits(**inputs):
    return session.run(None, inputs)[0]"""

    def write(self, network: Network, inputs: Sequence[Tensor], path: Path) -> None:
        """Write the file; weights of more than 2 GB, the most that its format holds, lie beside it."""
        from onnxscript import optimizer

        with _exporting(self, network), torch.no_grad():
            program: Any = torch.onnx.export(
                network.module,
                tuple(inputs),
                dynamo=True,
                dynamic_shapes=network.dynamic_shapes(),
                opset_version=OPSET,
                input_names=list(network.inputs),
                output_names=["logits"],
                verbose=False,
                optimize=False,  # it takes x + 1e-8 for x + 0: what is interpolated at a known point becomes NaN
            )
            optimizer.fold_constants_ir(program.model)
            optimizer.remove_unused_nodes(program.model)
            program.save(path)

    def open(self, path: Path) -> Run:
        """Return what ONNX Runtime computes, on as many threads as torch has."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
        session = onnxruntime.InferenceSession(path, options)
        names = [own.name for own in session.get_inputs()]

        def run(inputs: Sequence[Tensor]) -> Tensor:
            given = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
            return torch.from_numpy(session.run(None, given)[0])

        return run

    def versions(self) -> dict[str, str | int]:
        """Return the packages' versions and the operator set."""
        return {**super().versions(), "opset": OPSET}


class TorchExport(Target):
    """torch's own form, ``torch.export``: any program with torch alone, also AOTInductor, takes it."""

    name, file = "pt2", "model.pt2"
    needs, runs_on = ("torch",), "torch"
    example = """model = torch.export.load(here / "model.pt2").module()


def logits(**inputs):
    return model(*map(torch.from_numpy, inputs.values())).numpy()"""

    def write(self, network: Network, inputs: Sequence[Tensor], path: Path) -> None:
        """Write the file."""
        with _exporting(self, network), torch.no_grad():
            shapes = network.dynamic_shapes()
            program = torch.export.export(network.module, tuple(inputs), dynamic_shapes=shapes, strict=False)
            torch.export.save(program, path)

    def open(self, path: Path) -> Run:
        """Return what torch computes."""
        module: Any = torch.export.load(path).module()
        return torch.no_grad()(lambda inputs: module(*inputs))


OPSET = 20
"""Of ONNX: that of torch's exporter, so that nothing is converted."""
TARGETS: dict[str, Target] = {target.name: target for target in (Onnx(), TorchExport())}


@contextmanager
def _exporting(target: Target, network: Network) -> Iterator[None]:
    """Keep exporters' talk to themselves, and turn what they cannot do into one message."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (RuntimeError, ValueError) as error:  # of a symbolic size, of a branch on data, of an operator
        raise PccloraError(f"--to {target.name}: {_reason(error, network)}") from error
    finally:
        logging.disable(disabled)


def _reason(error: Exception, network: Network) -> str:
    whose = "this model" if network.merged else "this method, which cannot be merged and so stands in the graph,"
    if found := _NO_OPERATOR.search(str(error)):
        return f"there is no operator for {found[1]}, which {whose} needs; try --to pt2, or a method that merges"
    line = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
    return f"{whose} cannot be exported: {line}"

"""One run of any task, from its configuration to its finished folder, and what is made of that folder later."""

from pcclora.runs.load import load_run, load_runs
from pcclora.runs.predict import ClassPrediction
from pcclora.runs.reload import TrainedRun
from pcclora.runs.segmented import SegmentedCloud

__all__ = ["ClassPrediction", "SegmentedCloud", "TrainedRun", "load_run", "load_runs"]

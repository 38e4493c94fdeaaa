"""Accuracy, calibration, part IoU, and what a model costs."""

from pcclora.metrics.accuracy import Spread, accuracy, confusion_matrix, mean_class_accuracy, spread
from pcclora.metrics.calibration import Reliability, fit_temperature, reliability
from pcclora.metrics.counts import MacCount, ParameterCount, count_macs, count_parameters
from pcclora.metrics.paired import PairedDifference, paired_differences
from pcclora.metrics.part_iou import CategoryScore, PartScores, part_ious, score_parts

__all__ = [
    "CategoryScore",
    "MacCount",
    "PairedDifference",
    "ParameterCount",
    "PartScores",
    "Reliability",
    "Spread",
    "accuracy",
    "confusion_matrix",
    "count_macs",
    "count_parameters",
    "fit_temperature",
    "mean_class_accuracy",
    "paired_differences",
    "part_ious",
    "reliability",
    "score_parts",
    "spread",
]

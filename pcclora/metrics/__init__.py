"""Accuracy, and what a model costs."""

from pcclora.metrics.accuracy import Spread, accuracy, confusion_matrix, mean_class_accuracy, spread
from pcclora.metrics.counts import MacCount, ParameterCount, count_macs, count_parameters

__all__ = [
    "MacCount",
    "ParameterCount",
    "Spread",
    "accuracy",
    "confusion_matrix",
    "count_macs",
    "count_parameters",
    "mean_class_accuracy",
    "spread",
]

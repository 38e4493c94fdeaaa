"""The pictures of a finished run, drawn from what its folder holds."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pcclora.engine.run_folder import RunFolder
from pcclora.errors import PccloraError
from pcclora.metrics.accuracy import accuracy, confusion_matrix
from pcclora.metrics.calibration import reliability
from pcclora.runs.answers import remarkable
from pcclora.runs.class_views import classified_test_clouds
from pcclora.runs.part_views import segmented_test_shapes
from pcclora.runs.reload import TrainedRun
from pcclora.runs.report import CONSTANT
from pcclora.runs.segmented import SegmentedCloud
from pcclora.tasks.registry import TASKS
from pcclora.vis.gallery import draw_gallery
from pcclora.vis.grid import COLUMNS, draw_clouds
from pcclora.vis.image_gallery import draw_image_gallery
from pcclora.vis.plots import draw_confusion, draw_curves, draw_iou_bars
from pcclora.vis.trust import draw_corruptions, draw_reliability


def draw_run(folder: RunFolder) -> None:
    """Draw curves.png, gallery.png, and confusion.png of classes or ious.png of parts."""
    summary = folder.read_summary()
    _draw_curves(folder, summary)
    draw_test(folder, summary)
    if summary["task"] == TASKS["image"].title:
        draw_image_gallery(folder, folder.gallery, title=run_title(summary))
    elif "categories" in summary:
        shapes = chosen_shapes(TrainedRun(folder))
        draw_gallery(list(shapes.values()), folder.gallery, captions=list(shapes))
    else:
        draw_clouds(answered_clouds(TrainedRun(folder)), folder.gallery, title=run_title(summary))


def _draw_curves(folder: RunFolder, summary: Mapping[str, Any]) -> None:
    """The curves, with what an answer gets that is always the same."""
    if "categories" in summary:
        constant, answer = summary.get("constant", {}), CONSTANT
    else:
        counts = np.bincount([int(row["label"]) for row in folder.read_predictions()])
        constant, answer = {"accuracy": counts.max() / counts.sum()}, "most frequent class"
    options = {"constant": constant, "answer": answer, "kept": summary.get("selected_epoch")}
    draw_curves(folder.metrics, folder.curves, title=run_title(summary), **options)


def answered_clouds(run: TrainedRun, *, count: int = COLUMNS) -> dict[str, list[SegmentedCloud]]:
    """Return test objects of a classification run by what is remarkable of them, none of them twice.

    Args:
        run: It.
        count: How many of each kind at most.

    Raises:
        PccloraError: If the run is not finished, or none of classes of clouds.
    """
    chosen = remarkable(run.folder, count=count)
    clouds = iter(classified_test_clouds(run, [answer for answers in chosen.values() for answer in answers]))
    return {kind: [next(clouds) for _ in answers] for kind, answers in chosen.items()}


def chosen_shapes(run: TrainedRun) -> dict[str, SegmentedCloud]:
    """Return the test shapes of :func:`extremes`."""
    chosen = extremes(run.folder)
    return dict(zip(chosen, segmented_test_shapes(run, list(chosen.values())), strict=True))


def draw_test(folder: RunFolder, summary: Mapping[str, Any]) -> None:
    """Draw what a test gave: of classes confusion.png, reliability.png and perhaps corruptions.png; ious.png of parts.

    Args:
        folder: With predictions.csv; a run's, or that of an evaluation of one.
        summary: Its numbers and names.
    """
    chosen = " (best epoch chosen on the test set)" if "best_on_test" in "".join(summary["metrics"]) else ""
    if "categories" in summary:
        figures = [f"{name.partition('_miou')[0]} mIoU {value:.2%}" for name, value in _mious(summary)]
        title = f"{run_title(summary)}\n{', '.join(figures)}{chosen}"
        parts = [own for own in summary.get("category_parts", {}).values() if len(own) > 1]
        if len(summary["categories"]) == 1 and parts:
            draw_iou_bars(parts[0], folder.ious, title=title, mean="mean of the parts")
        else:
            draw_iou_bars(summary["categories"], folder.ious, title=title)
        return
    rows = folder.read_predictions()
    labels, guesses = ([int(row[key]) for row in rows] for key in ("label", "prediction"))
    held = reliability([row["confidence"] for row in rows], np.equal(labels, guesses))
    draw_reliability(held, folder.reliability, title=run_title(summary), calibration=summary.get("calibration"))
    confusion = confusion_matrix(labels, guesses, num_classes=len(summary["classes"]))
    title = f"{run_title(summary)}\naccuracy {accuracy(confusion):.2%}{chosen}"
    draw_confusion(confusion, summary["classes"], folder.confusion, title=title)
    if "corruptions" in summary:
        draw_corruptions(summary["corruptions"], folder.corruptions, title=run_title(summary))


def extremes(folder: RunFolder) -> dict[str, int]:
    """Return the test shapes of best, median and worst mIoU, by these names.

    Of shapes that truly have several parts, if there are any: one of a single part is right without being understood.
    No shape comes twice: of two there is no median, and a single one is both.

    Raises:
        PccloraError: If the run is not finished, or none of part segmentation.
    """
    rows = folder.read_predictions()
    order = [index for index in worst(folder) if rows[index]["parts"] > 1] or worst(folder)
    if len(order) == 1:
        return {"best and worst": order[0]}
    median = {"median": order[(len(order) - 1) // 2]} if len(order) > 2 else {}
    return {"best": order[-1], **median, "worst": order[0]}


def worst(folder: RunFolder, count: int | None = None) -> list[int]:
    """Return the test shapes of least mIoU, the worst first; all of them without a count.

    Raises:
        PccloraError: If the run is not finished, or none of part segmentation.
    """
    if "categories" not in folder.read_summary():
        raise PccloraError(f"{folder.path}: its test objects have no parts; a part-segmentation run is needed here")
    order = np.argsort([row["miou"] for row in folder.read_predictions()], kind="stable")
    return [int(index) for index in order[:count]]


def _mious(summary: Mapping[str, Any]) -> list[tuple[str, float]]:
    return [(name, value) for name, value in summary["metrics"].items() if "miou" in name and "votes" not in name]


def run_title(summary: Mapping[str, Any]) -> str:
    """Return what pictures of a run are called: data set, model, adapter."""
    return " · ".join([summary["data"], summary["model"], summary["adapter"]["name"]])

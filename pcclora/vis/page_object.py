"""What the script of a web page is told of one object, as JSON; ``web/page.js`` reads it."""

import base64
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcclora.data import AXES
from pcclora.metrics import part_ious
from pcclora.runs.segmented import ClassAnswer, SegmentedCloud
from pcclora.text import visible
from pcclora.vis.camera import Camera
from pcclora.vis.palette import SCALE
from pcclora.vis.views import ERRORS, HEIGHT, PREDICTION, TRUTH, View, answer_lines, part_legend

FRAME = (900, 700)
"""Width and height that the first view of an object fits into, in pixels; the browser scales it."""

MOST_CLASSES = 5
"""Classes whose probability is shown, the most probable."""

IntArray = NDArray[np.int64]


def frame(points: NDArray[np.floating]) -> tuple[NDArray[np.float64], float]:
    """Return middle (3,) and radius of a cloud: the browser's float32 would round map coordinates to decimetres."""
    centre = (points.min(axis=0).astype(np.float64) + points.max(axis=0)) / 2
    return centre, float(np.sqrt(((points - centre) ** 2).sum(axis=1).max())) or 1.0


def describe(cloud: SegmentedCloud, views: dict[str, View], kept: IntArray, camera: Camera) -> dict[str, Any]:
    """Return all that the script needs beside the points themselves.

    Args:
        cloud: The object.
        views: Its views, at least one.
        kept: (M,) numbers of the points that are drawn.
        camera: Where it is first seen from.
    """
    centre, radius = frame(cloud.points)
    percent = None if cloud.probabilities is None else 100 * cloud.probabilities
    return {
        "name": _name(cloud),
        "facts": _facts(cloud, len(kept)),
        "views": [_view(cloud, view, kept) for view in views.values()],
        "parts": [{"name": name, "colour": _hex(colour)} for name, colour in part_legend(cloud)],
        "percent": None if percent is None else _bytes(percent.round()[kept]),
        "numbers": kept.tolist() if len(kept) < len(cloud.points) else None,
        "centre": centre.tolist(),
        "radius": radius,
        "answer": None if cloud.answer is None else _answer(cloud.answer),
        "cameras": _cameras((cloud.points[kept] - centre) / radius, camera),
    }


def _name(cloud: SegmentedCloud) -> str:
    """What the chooser calls it."""
    return visible(cloud.category) if cloud.answer is None else ", ".join(answer_lines(cloud.answer))


def _answer(answer: ClassAnswer) -> dict[str, Any]:
    shown = answer.likely[:MOST_CLASSES]
    likely = [{"name": visible(name), "percent": round(100 * probability, 1)} for name, probability in shown]
    return {"likely": likely, "truth": answer.truth and visible(answer.truth), "wrong": answer.wrong}


def _facts(cloud: SegmentedCloud, drawn: int) -> str:
    total = len(cloud.points)
    lines = [visible(cloud.title)] if cloud.title else []
    lines.append(f"{total:,} points" + (f", {drawn:,} of them drawn" if drawn < total else ""))
    if cloud.truth is not None and cloud.prediction is not None:
        iou = part_ious(cloud.truth, cloud.prediction, cloud.parts).mean()
        lines.append(f"mean IoU {iou:.1%} · accuracy {(cloud.truth == cloud.prediction).mean():.1%}")
    elif cloud.confidence is not None:
        lines.append(f"mean confidence {cloud.confidence.mean():.1%}")
    return "\n".join(lines)


def _view(cloud: SegmentedCloud, view: View, kept: IntArray) -> dict[str, Any]:
    """Colours by the legend where every point belongs to one of its entries, by height, else point by point."""
    group = _groups(cloud, view.name)
    columns, cells = _table(cloud, view, group)
    return {
        "name": view.name,
        "columns": columns,
        "legend": [
            {"name": name, "colour": _hex(colour), "cells": row}
            for (name, colour), row in zip(view.legend, cells, strict=True)
        ],
        "group": None if group is None else _bytes(group[kept]),
        "colours": _bytes(view.colours[kept]) if group is None and view.name != HEIGHT else None,
        "scale": SCALE if view.name == HEIGHT else None,
    }


def _groups(cloud: SegmentedCloud, view: str) -> IntArray | None:
    """(N,) which entry of the view's legend each point belongs to, or None."""
    labels = {TRUTH: cloud.truth, PREDICTION: cloud.prediction}.get(view)
    if labels is not None:
        return np.searchsorted(cloud.parts, labels)
    return cloud.errors.astype(np.int64) if view == ERRORS and cloud.errors is not None else None


def _table(cloud: SegmentedCloud, view: View, group: IntArray | None) -> tuple[list[str], list[list[str]]]:
    """Heads and cells of the numbers beside the legend; of all points, drawn or not."""
    if group is None:
        return [], [[] for _ in view.legend]
    counts = np.bincount(group, minlength=len(view.legend))
    if view.name == ERRORS:
        return ["prediction", "points", "share"], [[f"{n:,}", f"{n / len(group):.1%}"] for n in counts]
    if cloud.truth is None or cloud.prediction is None:
        return ["part", "points", "share"], [[f"{n:,}", f"{n / len(group):.1%}"] for n in counts]
    ious = part_ious(cloud.truth, cloud.prediction, cloud.parts)
    present = np.isin(cloud.parts, [cloud.truth, cloud.prediction])
    shares = [f"{iou:.1%}" if there else "absent" for iou, there in zip(ious, present, strict=True)]
    return ["part", "points", "IoU"], [[f"{n:,}", share] for n, share in zip(counts, shares, strict=True)]


def _cameras(points: NDArray[np.float64], camera: Camera) -> dict[str, list[float]]:
    """Up, as ``-z`` -> where :class:`Camera` stands then, as K3D wants it: eye, target, up.

    What has -z up is seen as the cloud mirrored in its middle is with z up.
    """
    found = {}
    for axis in AXES:
        for sign, way in (("+", 1.0), ("-", -1.0)):
            turned = replace(camera, up=axis)
            forward = way * turned.rotation(way * points)[2]
            distance = turned.place(way * points, FRAME)[0, 2] - points[0] @ forward
            up = [way * (axis == own) for own in "xyz"]
            found[sign + axis] = [*(-distance * forward).tolist(), 0.0, 0.0, 0.0, *up]
    return found


def _bytes(values: NDArray[Any]) -> str:
    """Groups, colours and percentages all fit into bytes."""
    return base64.b64encode(values.astype(np.uint8).tobytes()).decode()


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)

"""What the colours of a scan can mean, and the key to them."""

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from pcclora.app.labels import UNLABELLED
from pcclora.app.predicting import Prediction
from pcclora.app.session import Session
from pcclora.text import visible
from pcclora.vis.palette import RIGHT, WRONG, part_colours, rgb
from pcclora.vis.tokens import Tokens, token_colours
from pcclora.vis.views import Legend, View, legend_of, scale_view

LABELS, PIECES, OWN, HEIGHT, FILE = "labels", "super-points", "own colours", "height", "labels of the file"
PREDICTION, CONFIDENCE, ERRORS, TOKENS = "prediction", "confidence", "differences", "tokens"
EMPTY = rgb("#A9AEB4")
"""Points without a label."""
CHOSEN = rgb("#FF00C8")
"""Points that are selected: a colour that no part has."""
TOKENS_AT_FIRST = Tokens(num_groups=64, group_size=32, points=1024)
"""How a model cuts a scan, where no run says it."""

Colours = NDArray[np.uint8]


def looks_of(session: Session, prediction: Prediction | None) -> list[str]:
    """Return what the colours can mean: what the scan and the chosen run have data for."""
    scan = session.scan
    looks = [LABELS, PIECES, HEIGHT, TOKENS]
    looks += [OWN] if scan.colors is not None else []
    looks += [FILE] if scan.labels is not None else []
    if prediction is not None:
        looks += [CONFIDENCE] if prediction.labels is None else [PREDICTION, CONFIDENCE, ERRORS]
    return looks


def look(session: Session, name: str, prediction: Prediction | None, tokens: Tokens = TOKENS_AT_FIRST) -> View:
    """Colour the points that are shown.

    Args:
        session: With the scan.
        name: One of :func:`looks_of`.
        prediction: What the chosen run says of the scan.
        tokens: How that run's model cuts a cloud.
    """
    scan, now = session.scan, session.now
    if name == PIECES:
        return View(name, part_colours(30)[session.pieces * 7 % 30])
    if name == HEIGHT:
        heights = scan.placed[:, 1]
        return scale_view(name, heights, heights.min(), heights.max(), ("lowest", "highest"))
    if name == TOKENS:
        return View(name, token_colours(scan.placed, tokens))
    if name == OWN and scan.colors is not None:
        return View(name, scan.colors)
    if name == FILE and scan.labels is not None:
        return _parts(name, scan.labels, session.parts or [f"label {n}" for n in range(int(scan.labels.max()) + 1)])
    if prediction is not None and name == CONFIDENCE:
        return scale_view(name, prediction.confidence, 0.0, 1.0, ("0 %", "100 %"))
    if prediction is not None and prediction.labels is not None and name == PREDICTION:
        return _parts(name, *_as_here(prediction, session))
    if prediction is not None and prediction.labels is not None and name == ERRORS:
        wrong = (prediction.as_labels(session.parts) != now.labels) & (now.labels != UNLABELLED)
        both = np.stack([rgb(RIGHT), rgb(WRONG)])
        return View(name, both[wrong.astype(int)], legend_of(("as labelled, or not labelled", "otherwise"), both))
    return _parts(LABELS, now.labels, session.parts)


def with_pieces(colours: Colours, session: Session) -> Colours:
    """Shade each super-point a little, so that it can be told from those around it."""
    shade = 0.78 + 0.22 * (session.pieces * 0.6180339887 % 1.0)
    return (colours * shade[:, None]).astype(np.uint8)


def with_selection(colours: Colours, session: Session) -> Colours:
    """Mark the points that are selected."""
    return np.where(session.selected[:, None], CHOSEN, colours)


def legend_html(legend: Legend, *, more: Sequence[str] = ()) -> str:
    """Return a key as HTML: a square of the colour before each name; names come from outside and are escaped."""
    square = (
        '<span style="display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.5em;background:{}">'
    )
    rows = [
        f"<div>{square.format('rgb({},{},{})'.format(*colour))}</span>{_safe(name)}</div>" for name, colour in legend
    ]
    rows += [f"<div>{_safe(line)}</div>" for line in more]
    return f'<div style="padding:0 1em .5em;font-size:.85em;line-height:1.5">{"".join(rows)}</div>'


def _safe(text: str) -> str:
    return escape(visible(text))


def _as_here(prediction: Prediction, session: Session) -> tuple[NDArray[np.integer], Sequence[str]]:
    """Return a prediction's labels and names, numbered as the parts here where it knows them: the same colours."""
    if prediction.labels is None or set(prediction.parts) - set(session.parts):
        return np.zeros(0, np.int64) if prediction.labels is None else prediction.labels, prediction.parts
    return prediction.as_labels(session.parts), session.parts


def _parts(name: str, labels: NDArray[np.integer], names: Sequence[str]) -> View:
    colours = np.concatenate([part_colours(max(len(names), int(labels.max(initial=-1)) + 1)), EMPTY[None]])
    legend = legend_of([*names, "no part yet"], colours[[*range(len(names)), -1]])
    return View(name, colours[labels], legend if (labels == UNLABELLED).any() else legend[:-1])

"""Pictures of runs. The tools use them; nothing else does."""

from pcclora.vis.plots import draw_confusion, draw_confusion_of, draw_curves, draw_run

__all__ = ["draw_confusion", "draw_confusion_of", "draw_curves", "draw_run"]

"""Pictures of runs and of segmented objects. The tools use them; nothing else does."""

from pcclora.vis.camera import Camera
from pcclora.vis.folds import draw_folds
from pcclora.vis.gallery import draw_gallery
from pcclora.vis.grid import draw_clouds
from pcclora.vis.page import write_page
from pcclora.vis.plots import draw_confusion, draw_curves, draw_iou_bars
from pcclora.vis.ply import write_ply
from pcclora.vis.render import render_cloud
from pcclora.vis.runs import draw_run, draw_test
from pcclora.vis.tokens import Tokens
from pcclora.vis.views import View, views_of
from pcclora.vis.window import show

__all__ = [
    "Camera",
    "Tokens",
    "View",
    "draw_clouds",
    "draw_confusion",
    "draw_curves",
    "draw_folds",
    "draw_gallery",
    "draw_iou_bars",
    "draw_run",
    "draw_test",
    "render_cloud",
    "show",
    "views_of",
    "write_page",
    "write_ply",
]

"""A window on segmented objects: turn them with the mouse, choose by keys what their colours mean.

It is Open3D's legacy visualiser, which needs nothing but OpenGL; the newer one needs Vulkan.
"""

import time
from collections.abc import Sequence

import numpy as np

from pcclora.errors import PccloraError
from pcclora.runs.segmented import SegmentedCloud
from pcclora.vis.camera import Camera
from pcclora.vis.open3d_import import import_open3d, quiet, require_display
from pcclora.vis.tokens import Tokens
from pcclora.vis.window_legend import draw_panel
from pcclora.vis.window_meshes import NEAR, Balls, Panel
from pcclora.vis.window_state import STEP_KEYS, VIEW_KEYS, WindowState

SIZE = (1280, 800)
ZOOM = 0.62
"""Distance of the camera, in Open3D's measure, from which an object fits into the window."""


def show(clouds: Sequence[SegmentedCloud], *, tokens: Tokens | None = None, camera: Camera | None = None) -> None:
    """Open a window and return when it is closed.

    Args:
        clouds: The objects.
        tokens: How a model cuts them, to show that too.
        camera: Where they are seen from first.

    Raises:
        PccloraError: If there is no display, Open3D is not there, or there is nothing to show.
    """
    camera = camera or Camera()
    state = WindowState(clouds, tokens, camera.up)
    require_display()
    window = Window(state, camera=camera)
    try:
        window.run()
    finally:
        window.close()


class Window:
    """The window; :func:`show` runs it.

    Args:
        state: What is shown.
        camera: Where it is seen from first.
        visible: False draws off-screen.

    Raises:
        PccloraError: If Open3D is not there, or can open no window.
    """

    def __init__(self, state: WindowState, *, camera: Camera, visible: bool = True) -> None:
        self.open3d, self.state, self.camera = import_open3d(), state, camera
        self.visualizer = self.open3d.visualization.VisualizerWithKeyCallback()
        with quiet() as log:
            opened = self.visualizer.create_window("pcclora", width=SIZE[0], height=SIZE[1], visible=visible)
        if not opened or (visible and "offscreen" in log.getvalue()):  # only its words tell that it draws off-screen
            self.close()
            raise PccloraError(
                "no window can be opened: the display does not answer, or has no OpenGL; write a picture or a page "
                "instead: --png FILE, --html FILE"
            )
        option = self.visualizer.get_render_option()
        option.light_on, option.mesh_show_back_face, option.background_color = False, True, np.ones(3)
        for key in (*VIEW_KEYS, *STEP_KEYS, "R"):
            self.visualizer.register_key_callback(ord(key), lambda _, key=key: self.press(key))
        self.placed = np.empty(0)  # camera of the legend's last place
        self._show_object()

    def press(self, key: str) -> bool:
        """Do what a key is for."""
        before = self.state.number
        self.state.press(key)
        if self.state.number != before or key == "R":
            self._show_object()
        else:
            self._show_view()
        return False  # Open3D need not update all geometry

    def run(self) -> None:
        """Show it until it is closed."""
        while self.visualizer.poll_events():
            self.place_panel()
            time.sleep(0.005)  # the machine has other work too

    def place_panel(self) -> None:
        """Keep the legend in its place when the camera has moved or the window has another size."""
        pinhole = self.visualizer.get_view_control().convert_to_pinhole_camera_parameters()
        seen = np.concatenate([pinhole.extrinsic, np.pad(pinhole.intrinsic.intrinsic_matrix, (0, 1))])
        if not np.array_equal(seen, self.placed):
            self.placed = seen
            self.panel.face(pinhole)
            self.visualizer.update_geometry(self.panel.mesh)
            self.visualizer.update_renderer()

    def close(self) -> None:
        """Close it."""
        self.visualizer.destroy_window()

    def _show_object(self) -> None:
        self.visualizer.clear_geometries()
        self.balls = Balls(self.open3d, self.state.cloud.points)
        self.balls.paint(self.state.view.colours)
        self.visualizer.add_geometry(self.balls.mesh)
        _, down, forward = self.camera.rotation(self.state.cloud.points)
        control = self.visualizer.get_view_control()
        control.set_lookat(np.zeros(3))
        control.set_front(-forward)
        control.set_up(-down)
        control.set_zoom(ZOOM)
        control.set_constant_z_near(NEAR / 2)
        control.set_constant_z_far(100.0)
        self._show_panel()

    def _show_view(self) -> None:
        self.balls.paint(self.state.view.colours)
        self.visualizer.update_geometry(self.balls.mesh)
        self.visualizer.remove_geometry(self.panel.mesh, reset_bounding_box=False)
        self._show_panel()

    def _show_panel(self) -> None:
        self.panel = Panel(self.open3d, draw_panel(self.state))
        self.visualizer.add_geometry(self.panel.mesh, reset_bounding_box=False)
        self.placed = np.empty(0)
        self.place_panel()

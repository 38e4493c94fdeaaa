"""Points as discs, nearest in front, by Open3D: its legacy visualiser draws through EGL and needs no display.

What it returns is what :mod:`pcclora.vis.splat` returns, so a picture looks the same whichever of the two drew it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcclora.errors import PccloraError
from pcclora.vis.camera import FloatArray, Size
from pcclora.vis.open3d_import import APT_LINE, import_open3d, quiet

CORNERS = 8
REACH = float(np.sqrt(2 * np.pi / (CORNERS * np.sin(2 * np.pi / CORNERS))))
"""Of a polygon's corner, in radii of the disc of equal area."""


def draw_open3d(
    seen: FloatArray, colours: NDArray[np.uint8], *, size: Size, focal: float, radius: float
) -> tuple[FloatArray, FloatArray]:
    """Draw every point as a disc of the same size; arguments and result as of :func:`pcclora.vis.splat.draw_splat`.

    Raises:
        PccloraError: If Open3D is not there, or can draw nothing on this machine.
    """
    open3d = import_open3d()
    visualizer = open3d.visualization.Visualizer()
    with quiet():
        try:
            if not visualizer.create_window(width=size[0], height=size[1], visible=False):
                raise PccloraError(f"Open3D cannot draw off-screen on this machine; it needs EGL: {APT_LINE}")
            visualizer.add_geometry(_discs(open3d, seen, colours, radius / focal))
            _look(open3d, visualizer, seen, size, focal)
            colour = np.asarray(visualizer.capture_screen_float_buffer(True), np.float64)
            depth = np.asarray(visualizer.capture_depth_float_buffer(True), np.float64)
        finally:
            visualizer.destroy_window()
    if depth.shape != size[::-1]:
        raise PccloraError(f"Open3D drew {depth.shape[1]} x {depth.shape[0]} pixels instead of {size[0]} x {size[1]}")
    return colour, np.where(depth > 0, depth, np.inf)


def _discs(open3d: Any, seen: FloatArray, colours: NDArray[np.uint8], radius: float) -> Any:
    """Return a mesh with one polygon a point; it faces the camera and grows with the distance, so all look equal."""
    angle = np.arange(CORNERS) * (2 * np.pi / CORNERS)
    circle = np.stack([np.cos(angle), np.sin(angle), np.zeros(CORNERS)], axis=1)
    vertices = seen[:, None] + REACH * radius * seen[:, None, 2:] * circle
    fan = np.stack([np.zeros(CORNERS - 2), np.arange(1, CORNERS - 1), np.arange(2, CORNERS)], axis=1)
    triangles = (CORNERS * np.arange(len(seen))[:, None, None] + fan).reshape(-1, 3)
    mesh = open3d.geometry.TriangleMesh(
        open3d.utility.Vector3dVector(vertices.reshape(-1, 3)),
        open3d.utility.Vector3iVector(triangles.astype(np.int32)),
    )
    mesh.vertex_colors = open3d.utility.Vector3dVector(np.repeat(colours / 255.0, CORNERS, axis=0))
    return mesh


def _look(open3d: Any, visualizer: Any, seen: FloatArray, size: Size, focal: float) -> None:
    option = visualizer.get_render_option()
    option.light_on, option.mesh_show_back_face = False, True
    option.background_color = np.ones(3)
    pinhole = open3d.camera.PinholeCameraParameters()
    pinhole.extrinsic = np.eye(4)  # the points are in the camera's frame already
    width, height = size
    pinhole.intrinsic = open3d.camera.PinholeCameraIntrinsic(
        width, height, focal, focal, width / 2 - 0.5, height / 2 - 0.5
    )
    control = visualizer.get_view_control()
    control.convert_from_pinhole_camera_parameters(pinhole, allow_arbitrary=True)
    control.set_constant_z_near(0.9 * float(seen[:, 2].min()))
    control.set_constant_z_far(1.1 * float(seen[:, 2].max()))

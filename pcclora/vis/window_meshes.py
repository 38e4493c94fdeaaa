"""What a window draws: the points of an object as small balls, and a picture that stays right in front of the camera.

Open3D's legacy visualiser draws points as flat squares, and no text; meshes it draws well.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcclora.vis.render import FILL, spacing

SHOWN = 60_000
"""Points of an object that are shown at most, evenly drawn: a ball has twenty triangles."""

LARGEST = 0.03
"""Of a ball's radius, in radii of the object."""

LIGHT = np.array([0.3, 1.0, 0.5]) / np.linalg.norm([0.3, 1.0, 0.5])
"""Where the light comes from; it is painted onto the balls."""

NEAR = 0.02
"""Distance of the picture from the camera, in radii of the object."""


class Balls:
    """The points of one object, centred and scaled to radius 1.

    Args:
        open3d: The module.
        points: (N, 3).
    """

    def __init__(self, open3d: Any, points: NDArray[np.floating]) -> None:
        self.vector = open3d.utility.Vector3dVector
        self.shown = np.linspace(0, len(points) - 1, min(len(points), SHOWN)).round().astype(np.int64)
        low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
        centres = points[self.shown] - (low + high) / 2
        centres /= max(float(np.sqrt((centres**2).sum(axis=1).max())), np.finfo(np.float64).tiny)
        ball = open3d.geometry.TriangleMesh.create_icosahedron(1.0)
        corners = np.asarray(ball.vertices) / np.linalg.norm(np.asarray(ball.vertices)[0])
        self.shade = 0.7 + 0.3 * (corners @ LIGHT)[:, None]
        vertices = centres[:, None] + min(FILL * spacing(centres), LARGEST) * corners
        triangles = len(corners) * np.arange(len(centres))[:, None, None] + np.asarray(ball.triangles)
        faces = open3d.utility.Vector3iVector(triangles.reshape(-1, 3).astype(np.int32))
        self.mesh = open3d.geometry.TriangleMesh(self.vector(vertices.reshape(-1, 3)), faces)

    def paint(self, colours: NDArray[np.uint8]) -> None:
        """Give each point its colour (N, 3)."""
        shaded = colours[self.shown, None] / 255.0 * self.shade
        self.mesh.vertex_colors = self.vector(shaded.reshape(-1, 3))


class Panel:
    """A picture in the upper left corner of a window.

    Args:
        open3d: The module.
        pixels: (H, W, 3).
    """

    def __init__(self, open3d: Any, pixels: NDArray[np.uint8]) -> None:
        self.vector, self.size = open3d.utility.Vector3dVector, pixels.shape[1::-1]
        faces = open3d.utility.Vector3iVector(np.array([[0, 1, 2], [0, 2, 3]], np.int32))
        self.mesh = open3d.geometry.TriangleMesh(self.vector(np.zeros((4, 3))), faces)
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 0], [1, 1], [0, 1]], np.float64)
        self.mesh.triangle_uvs = open3d.utility.Vector2dVector(corners)
        self.mesh.triangle_material_ids = open3d.utility.IntVector([0, 0])
        self.mesh.textures = [open3d.geometry.Image(np.ascontiguousarray(pixels))]

    def face(self, pinhole: Any) -> None:
        """Move it in front of the camera, pixel on pixel."""
        inverse = np.linalg.inv(pinhole.intrinsic.intrinsic_matrix)
        width, height = self.size
        corners = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]]) - [0.5, 0.5, 0]
        seen = NEAR * corners @ inverse.T
        rotation, shift = pinhole.extrinsic[:3, :3], pinhole.extrinsic[:3, 3]
        self.mesh.vertices = self.vector((seen - shift) @ rotation)

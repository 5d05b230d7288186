# SPDX-License-Identifier: Apache-2.0
"""Pictures of a scene: colour, exact masks, depth; from any camera and at any size."""

from dataclasses import dataclass

import numpy as np

from samtok_ros.errors import DeviceError, ImageError
from samtok_ros.scenes.camera import Camera
from samtok_ros.scenes.sampling import SceneLayout
from samtok_ros.scenes.scene_model import SceneModel, mujoco

DEFAULT_SIZE_HW = (240, 320)
_BACKGROUND = 0


@dataclass(frozen=True, eq=False)
class RenderedScene:
    """One picture.

    Attributes:
        rgb: (H, W, 3) uint8.
        segmentation: (H, W) uint8 object ids, 0 where there is none.
        depth_m: (H, W) float32 distance along the optical axis, or None if not asked for.
        intrinsics: (3, 3) float64 camera matrix.
        camera: where it was taken from.
    """

    rgb: np.ndarray
    segmentation: np.ndarray
    depth_m: np.ndarray | None
    intrinsics: np.ndarray
    camera: Camera


class SceneRenderer:
    """Renders scene after scene in one drawing context. Use it from the thread that made it.

    Args:
        max_size_hw: largest picture that will be asked for; smaller ones are fine too.
        samples: samples per pixel against jagged edges; masks are exact at pixel centres always.
        shadow_size: edge of the shadow map, in pixels.
    Raises:
        DeviceError: no drawing context could be made (no OpenGL library).
    """

    def __init__(self, max_size_hw: tuple[int, int] = DEFAULT_SIZE_HW, samples: int = 4,
                 shadow_size: int = 1024) -> None:
        self._max_size_hw = max_size_hw
        self._scene_model = SceneModel(max_size_hw, samples, shadow_size)
        model = self._scene_model.model
        try:
            self._gl = mujoco.GLContext(max_size_hw[1], max_size_hw[0])
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
        except Exception as error:  # each backend raises kinds of its own
            raise DeviceError(
                'cannot open an off-screen drawing context', got=error,
                fix='install libosmesa6 (MUJOCO_GL=osmesa) or a GPU driver (MUJOCO_GL=egl)'
            ) from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, 64)
        self._view = mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._view.fixedcamid = 0
        self._options = mujoco.MjvOption()
        self._layout: SceneLayout | None = None

    def close(self) -> None:
        """Give the drawing context back; the renderer is of no use afterwards."""
        self._context.free()
        self._gl.free()

    def render(self, layout: SceneLayout, camera: Camera | None = None,
               size_hw: tuple[int, int] = DEFAULT_SIZE_HW, depth: bool = False) -> RenderedScene:
        """Render a scene.

        Args:
            layout: the scene.
            camera: where from; None for the layout's own.
            size_hw: height and width, at most the renderer's largest.
            depth: whether depth is wanted too.
        Raises:
            ImageError: the size is larger than the renderer was made for.
        """
        camera = camera or layout.camera
        self._prepare(layout, camera, size_hw)
        segmentation, depth_m = self._draw_segmentation(size_hw, depth)
        rgb = self._draw_colour(size_hw)
        return RenderedScene(rgb, segmentation, depth_m, camera.intrinsics(size_hw), camera)

    def render_segmentation(self, layout: SceneLayout, camera: Camera | None = None,
                            size_hw: tuple[int, int] = DEFAULT_SIZE_HW,
                            shown: set[int] | None = None) -> np.ndarray:
        """Render the object ids alone, at a third of the cost of a picture.

        Args:
            layout: the scene.
            camera: where from; None for the layout's own.
            size_hw: height and width.
            shown: ids of the things to draw as if they were alone; None for all.
        Returns:
            (H, W) uint8.
        Raises:
            ImageError: the size is larger than the renderer was made for.
        """
        self._prepare(layout, camera or layout.camera, size_hw, shown)
        segmentation, _ = self._draw_segmentation(size_hw, depth=False)
        return segmentation

    def render_colour(self, layout: SceneLayout, camera: Camera | None = None,
                      size_hw: tuple[int, int] = DEFAULT_SIZE_HW) -> np.ndarray:
        """Render the colours alone, (H, W, 3) uint8; arguments and errors as for render."""
        self._prepare(layout, camera or layout.camera, size_hw)
        return self._draw_colour(size_hw)

    def _prepare(self, layout: SceneLayout, camera: Camera, size_hw: tuple[int, int],
                 shown: set[int] | None = None) -> None:
        if size_hw[0] > self._max_size_hw[0] or size_hw[1] > self._max_size_hw[1]:
            raise ImageError('picture is larger than the renderer allows',
                             expected=f'at most {self._max_size_hw}', got=size_hw,
                             fix='make the renderer with a larger max_size_hw')
        target = self._scene_model
        if layout is not self._layout:
            target.set_layout(layout)
            for texture in target.textures.values():
                mujoco.mjr_uploadTexture(target.model, self._context, texture)
            self._layout = layout
        everything = {placed.object_id for placed in layout.objects}
        target.show_only(everything if shown is None else everything & shown)
        target.set_camera(camera)
        mujoco.mjv_updateScene(target.model, target.data, self._options, None, self._view,
                               mujoco.mjtCatBit.mjCAT_ALL, self._scene)

    def _draw_colour(self, size_hw: tuple[int, int]) -> np.ndarray:
        self._set_flags(segment=False)
        rgb, _ = self._draw(size_hw, depth=False)
        return rgb

    def _draw_segmentation(self, size_hw: tuple[int, int],
                           depth: bool) -> tuple[np.ndarray, np.ndarray | None]:
        self._set_flags(segment=True)
        pixels, depth_m = self._draw(size_hw, depth)
        # The red byte is 1 + the place in the scene's list (always below 64), 0 is the sky.
        table = np.zeros(256, dtype=np.uint8)
        object_ids = {slot: index for index, slot in enumerate(self._scene_model.slots, start=1)}
        for place in range(self._scene.ngeom):
            table[place + 1] = object_ids.get(self._scene.geoms[place].objid, _BACKGROUND)
        return table[pixels[..., 0]], depth_m

    def _set_flags(self, segment: bool) -> None:
        flags = self._scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = segment
        flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = segment
        flags[mujoco.mjtRndFlag.mjRND_SHADOW] = not segment
        flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = False

    def _draw(self, size_hw: tuple[int, int],
              depth: bool) -> tuple[np.ndarray, np.ndarray | None]:
        height, width = size_hw
        area = mujoco.MjrRect(0, 0, width, height)
        rgb = np.empty((height, width, 3), dtype=np.uint8)
        buffer = np.empty((height, width), dtype=np.float32) if depth else None
        mujoco.mjr_render(area, self._scene, self._context)
        mujoco.mjr_readPixels(rgb, buffer, area, self._context)
        # OpenGL's first row is the lowest one.
        return rgb[::-1].copy(), self._metres(buffer[::-1]) if depth else None

    def _metres(self, buffer: np.ndarray) -> np.ndarray:
        """Undo the perspective of the depth buffer, (H, W) in 0..1, to metres."""
        limits, extent = self._scene_model.model.vis.map, self._scene_model.model.stat.extent
        near, far = limits.znear * extent, limits.zfar * extent
        return (near / (1.0 - buffer * (1.0 - near / far))).astype(np.float32)

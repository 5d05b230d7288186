# SPDX-License-Identifier: Apache-2.0
"""The one MuJoCo model all scenes are rendered from, and how a layout is written into it.

Compiling a model costs over 100 ms, a picture 10 ms: so there is one model with a slot per thing,
and a scene sets types, meshes, poses, colours and textures of what is already there. No physics
runs; poses are written straight into the computed fields that drawing reads.
"""

import contextlib
import ctypes.util
import os

import numpy as np

from samtok_ros.errors import DeviceError
from samtok_ros.scenes.camera import Camera
from samtok_ros.scenes.meshes import MESH_SHAPES, VARIANTS, build_mesh
from samtok_ros.scenes.sampling import MAX_OBJECTS, PlacedObject, SceneLayout
from samtok_ros.scenes.surroundings import (
    FLOOR_TEXTURE_SIZE,
    MAX_LIGHTS,
    TEXTURE_SIZE,
    Surroundings,
)

if 'MUJOCO_GL' not in os.environ:
    # Software drawing is the same everywhere; a GPU is asked only where it is all there is.
    os.environ['MUJOCO_GL'] = 'osmesa' if ctypes.util.find_library('OSMesa') else 'egl'

with contextlib.suppress(ImportError):
    # torch's compiler brings an LLVM of its own, and so does OSMesa. A process that renders first
    # and loads torch's compiler later crashes; in this order the two get on.
    import triton  # noqa: F401

try:
    import mujoco  # reads MUJOCO_GL when imported, and loads that library
except (ImportError, AttributeError) as error:
    raise DeviceError(
        'cannot load MuJoCo with off-screen drawing', got=error,
        fix='run pip install mujoco, and install libosmesa6 or a GPU driver with EGL') from error

_FLOOR_Z = -0.75
_WALL_DISTANCE = 2.6


def compile_model(max_size_hw: tuple[int, int], samples: int, shadow_size: int) -> mujoco.MjModel:
    """Compile the model with all mesh variants and an empty slot per thing."""
    meshes = '\n'.join(_mesh_xml(shape, variant) for shape in MESH_SHAPES
                       for variant in range(VARIANTS))
    textures = '\n'.join(
        f'<texture name="{name}" type="2d" builtin="flat" width="{size}" height="{size}"/>'
        for name, size in (('table', TEXTURE_SIZE), ('floor', FLOOR_TEXTURE_SIZE)))
    slots = '\n'.join(
        f'<geom name="slot{index}" type="box" size="1 1 1" material="slot{index}"/>'
        for index in range(MAX_OBJECTS))
    slot_materials = '\n'.join(f'<material name="slot{index}"/>' for index in range(MAX_OBJECTS))
    walls = '\n'.join(
        f'<geom name="wall{index}" type="box" size="{size}" pos="{place}"/>'
        for index, (size, place) in enumerate(_walls()))
    lights = '\n'.join(f'<light name="light{index}" pos="0 0 2"/>' for index in range(MAX_LIGHTS))
    return mujoco.MjModel.from_xml_string(f"""
<mujoco>
  <visual>
    <global offheight="{max_size_hw[0]}" offwidth="{max_size_hw[1]}"/>
    <quality offsamples="{samples}" shadowsize="{shadow_size}"/>
    <map znear="0.05" zfar="8" shadowclip="1.2"/>
  </visual>
  <statistic extent="1" center="0 0 0"/>
  <default><geom contype="0" conaffinity="0" mass="0"/></default>
  <asset>
    {textures}
    <material name="table" texture="table" specular="0.2" shininess="0.3"/>
    <material name="floor" texture="floor" texrepeat="3 3" specular="0"/>
    {slot_materials}
    {meshes}
  </asset>
  <worldbody>
    <camera name="view"/>
    {lights}
    <geom name="table" type="box" size="1 1 0.02" material="table"/>
    <geom name="floor" type="box" size="2.6 2.6 0.02" pos="0 0 {_FLOOR_Z}" material="floor"/>
    {walls}
    {slots}
  </worldbody>
</mujoco>""")


def _walls() -> list[tuple[str, str]]:
    long, thin, tall, far = _WALL_DISTANCE, 0.05, 1.5, _WALL_DISTANCE
    return [(f'{thin} {long} {tall}', f'{far} 0 0.7'), (f'{thin} {long} {tall}', f'-{far} 0 0.7'),
            (f'{long} {thin} {tall}', f'0 {far} 0.7'), (f'{long} {thin} {tall}', f'0 -{far} 0.7')]


def _mesh_xml(shape: str, variant: int) -> str:
    mesh = build_mesh(shape, variant)
    vertices = ' '.join(f'{value:.6f}' for value in mesh.vertices_m.ravel())
    faces = ' '.join(map(str, mesh.faces.ravel()))
    return (f'<mesh name="{shape}{variant}" inertia="shell" vertex="{vertices}" '
            f'face="{faces}"/>')


class SceneModel:
    """The compiled model and its state, written to by scene, camera and object.

    Args:
        max_size_hw: largest picture that will be asked for.
        samples: samples per pixel against jagged edges.
        shadow_size: edge of the shadow map, in pixels.
    """

    def __init__(self, max_size_hw: tuple[int, int], samples: int, shadow_size: int) -> None:
        self.model = compile_model(max_size_hw, samples, shadow_size)
        self.data = mujoco.MjData(self.model)
        mujoco.mj_forward(self.model, self.data)
        model = self.model
        self.slots = [model.geom(f'slot{index}').id for index in range(MAX_OBJECTS)]
        self._walls = [model.geom(f'wall{index}').id for index in range(4)]
        self._table = model.geom('table').id
        self.textures = {name: model.tex(name).id for name in ('table', 'floor')}
        self._meshes = {(shape, variant): model.mesh(f'{shape}{variant}').id
                        for shape in MESH_SHAPES for variant in range(VARIANTS)}

    def set_layout(self, layout: SceneLayout) -> None:
        """Write a whole scene, camera excepted; slots without a thing become invisible."""
        self._set_surroundings(layout.surroundings)
        for slot in self.slots:
            self.model.geom_rgba[slot, 3] = 0.0
        for slot, placed in zip(self.slots, layout.objects, strict=False):
            self._set_object(slot, placed)

    def show_only(self, shown: set[int]) -> None:
        """Make the things with these ids visible and all other things invisible."""
        for object_id, slot in enumerate(self.slots, start=1):
            self.model.geom_rgba[slot, 3] = float(object_id in shown)

    def set_camera(self, camera: Camera) -> None:
        """Move the camera. MuJoCo's looks along -z with y up, ours along z with y down."""
        self.model.cam_fovy[0] = camera.fovy_deg
        self.data.cam_xpos[0] = camera.position_m
        self.data.cam_xmat[0] = (camera.rotation * np.array([1.0, -1.0, -1.0])).ravel()

    def _set_object(self, slot: int, placed: PlacedObject) -> None:
        model, geometry = self.model, placed.geometry
        model.geom_rgba[slot] = (*placed.rgb, 1.0)
        material = model.geom_matid[slot]
        model.mat_specular[material] = placed.gloss
        model.mat_shininess[material] = 0.3 + 0.5 * placed.gloss
        cos, sin = np.cos(placed.yaw), np.sin(placed.yaw)
        turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        centre = np.array(placed.position_m)
        if geometry.variant is None:
            model.geom_type[slot] = _PRIMITIVES[placed.shape]
            model.geom_size[slot] = geometry.scale_xyz
            if placed.shape == 'cylinder':
                model.geom_size[slot] = (geometry.scale_xyz[0], geometry.scale_xyz[2], 0.0)
            centre[2] += geometry.scale_xyz[2]
        else:
            mesh = self._meshes[placed.shape, geometry.variant]
            model.geom_type[slot] = mujoco.mjtGeom.mjGEOM_MESH
            model.geom_dataid[slot] = mesh
            # The compiler stores a mesh in its inertial frame: undo that, then stretch, then turn.
            turn = turn * np.array(geometry.scale_xyz)
            centre = centre + turn @ model.mesh_pos[mesh]
            inertial = np.zeros(9)
            mujoco.mju_quat2Mat(inertial, model.mesh_quat[mesh])
            turn = turn @ inertial.reshape(3, 3)
        self.data.geom_xpos[slot] = centre
        self.data.geom_xmat[slot] = turn.ravel()

    def _set_surroundings(self, surroundings: Surroundings) -> None:
        model, data = self.model, self.data
        model.geom_size[self._table, :2] = surroundings.table_half_m
        data.geom_xpos[self._table] = (0.0, 0.0, -0.02)
        cos, sin = np.cos(surroundings.table_yaw), np.sin(surroundings.table_yaw)
        data.geom_xmat[self._table] = (cos, -sin, 0, sin, cos, 0, 0, 0, 1)
        for wall in self._walls:
            model.geom_rgba[wall, :3] = surroundings.wall_rgb
        for name, pixels in (('table', surroundings.table_texture),
                             ('floor', surroundings.floor_texture)):
            start = model.tex_adr[self.textures[name]]
            model.tex_data[start:start + pixels.size] = pixels.ravel()
        model.vis.headlight.ambient[:] = surroundings.ambient
        model.vis.headlight.diffuse[:] = 0.08
        model.vis.headlight.specular[:] = 0.0
        for index in range(model.nlight):
            model.light_active[index] = index < len(surroundings.lights)
        for index, light in enumerate(surroundings.lights):
            data.light_xpos[index] = light.position_m
            data.light_xdir[index] = -np.array(light.position_m) / np.linalg.norm(light.position_m)
            model.light_diffuse[index] = light.rgb
            model.light_specular[index] = 0.5 * np.array(light.rgb)
            model.light_castshadow[index] = light.casts_shadow


_PRIMITIVES = {'box': mujoco.mjtGeom.mjGEOM_BOX, 'ball': mujoco.mjtGeom.mjGEOM_ELLIPSOID,
               'cylinder': mujoco.mjtGeom.mjGEOM_CYLINDER}

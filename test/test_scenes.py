# SPDX-License-Identifier: Apache-2.0
"""Scene sampling, meshes and store need no drawing library; rendering tests skip without one."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from samtok_ros.errors import ConfigError, ImageError
from samtok_ros.scenes import geometry, meshes
from samtok_ros.scenes.camera import Camera
from samtok_ros.scenes.sampling import SceneDescription, SceneObject, sample_layout
from samtok_ros.scenes.store import SceneStore, StorePlan, open_plan, write_shard

_LAYOUTS = 40


def _signed_volume_m3(mesh):
    corners = mesh.vertices_m[mesh.faces]
    return np.einsum('fi,fi->', corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6


def _edges_are_paired(faces):
    """In a closed, consistently turned surface each edge is walked once in each direction."""
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    there, back = start * 10_000 + end, end * 10_000 + start
    return len(np.unique(there)) == len(there) and np.array_equal(np.sort(there), np.sort(back))


def _thing(object_id=1, **changes):
    values = {'object_id': object_id, 'shape': 'mug', 'colour': 'red', 'size': 'small',
              'centre_xy': (0.5, 0.25), 'box_xyxy': (0.4, 0.2, 0.6, 0.3), 'area': 0.01,
              'visible_fraction': 0.9, 'depth_m': 0.7, 'distance_m': 0.72,
              'position_m': (0.0, -0.1, 0.7), 'yaw': 1.5}
    return SceneObject(**(values | changes))


# Meshes

@pytest.mark.parametrize('shape', meshes.MESH_SHAPES)
def test_mesh_of_every_variant_is_closed_and_turned_outwards(shape):
    for variant in range(meshes.VARIANTS):
        mesh = meshes.build_mesh(shape, variant)
        assert _edges_are_paired(mesh.faces), variant
        assert _signed_volume_m3(mesh) > 5e-5, variant
        assert np.isclose(mesh.vertices_m[:, 2].min(), 0.0), 'it stands on the table'


def test_lathe_of_a_cylinder_profile_has_the_volume_of_its_prism():
    mesh = meshes.lathe(np.array([[0, 0], [0.05, 0], [0.05, 0.1], [0, 0.1]]), segments=28)
    base = 0.5 * 28 * 0.05 ** 2 * np.sin(2 * np.pi / 28)
    assert _signed_volume_m3(mesh) == pytest.approx(base * 0.1)
    assert (mesh.radius_m, mesh.height_m) == (pytest.approx(0.05), pytest.approx(0.1))


def test_torus_arc_when_turned_fully_has_the_volume_of_a_torus():
    mesh = meshes.torus_arc((0.05, 0.05), (0.01, 0.01), (0, 2 * np.pi), 200, 100)
    assert _signed_volume_m3(mesh) == pytest.approx(2 * np.pi ** 2 * 0.05 * 0.01 ** 2, rel=0.01)


@pytest.mark.parametrize('shape', meshes.MESH_SHAPES)
def test_heldout_meshes_when_compared_with_training_meshes_are_all_different(shape):
    train = [meshes.build_mesh(shape, variant).vertices_m
             for variant in meshes.variants_of('train')]
    for variant in meshes.variants_of('heldout'):
        heldout = meshes.build_mesh(shape, variant).vertices_m
        # More than half a millimetre somewhere, not just another number.
        assert min(np.abs(heldout - other).max() for other in train) > 5e-4
    assert not set(meshes.variants_of('train')) & set(meshes.variants_of('heldout'))


# Geometry and colours

def test_proportions_when_drawn_for_the_splits_never_share_a_band():
    rng = np.random.default_rng(0)
    for split in geometry.SPLITS:
        drawn = [geometry.draw_proportion(rng, 0.7, 1.9, split) for _ in range(500)]
        assert min(drawn) >= 0.7
        assert max(drawn) < 1.9
        heldout = {geometry.proportion_is_heldout(value, 0.7, 1.9) for value in drawn}
        assert heldout == {split == 'heldout'}


def test_primitives_of_the_splits_never_have_the_same_proportions():
    rng = np.random.default_rng(1)
    for split in geometry.SPLITS:
        for _ in range(300):
            x, y, z = geometry.draw_geometry(rng, 'box', 'large', split).scale_xyz
            heldout = split == 'heldout'
            assert geometry.proportion_is_heldout(x / y, *geometry.BOX_ASPECT) == heldout
            assert geometry.proportion_is_heldout(z / y, *geometry.BOX_HEIGHT) == heldout
            x, _, z = geometry.draw_geometry(rng, 'cylinder', 'small', split).scale_xyz
            assert geometry.proportion_is_heldout(z / x, *geometry.CYLINDER_HEIGHT) == heldout


@pytest.mark.parametrize('shape', geometry.SHAPES)
def test_sizes_of_one_form_when_small_and_large_leave_a_clear_gap(shape):
    scales = {}
    for size in geometry.SIZES:
        drawn = [geometry.draw_geometry(np.random.default_rng(seed), shape, size, 'train')
                 for seed in range(60)]
        scales[size] = [np.cbrt(np.prod(one.scale_xyz)) for one in drawn]
    assert min(scales['large']) > 1.15 * max(scales['small'])


def test_shades_of_two_colours_are_never_alike():
    rng = np.random.default_rng(2)
    shades = {colour: np.array([geometry.draw_rgb(rng, colour) for _ in range(100)])
              for colour in geometry.COLOURS}
    for colour, own in shades.items():
        assert own.min() >= 0
        assert own.max() <= 1
        for other, theirs in shades.items():
            if other != colour:
                gap = np.linalg.norm(own[:, None] - theirs[None], axis=-1).min()
                assert gap > 0.1, (colour, other)


# Sampling

def test_layout_when_drawn_twice_from_a_seed_is_the_same():
    first, second = sample_layout(5, 'train'), sample_layout(5, 'train')
    assert first.objects == second.objects
    assert np.array_equal(first.surroundings.table_texture, second.surroundings.table_texture)
    assert np.array_equal(first.camera.rotation, second.camera.rotation)


def test_layout_when_seed_split_or_attempt_differs_is_another_one():
    base = sample_layout(5, 'train').objects
    assert sample_layout(6, 'train').objects != base
    assert sample_layout(5, 'heldout').objects != base
    assert sample_layout(5, 'train', attempt=1).objects != base


def test_layout_when_the_split_is_unknown_says_which_there_are():
    with pytest.raises(ConfigError, match="expected train or heldout, got 'test'"):
        sample_layout(0, 'test')


@pytest.mark.parametrize('split', geometry.SPLITS)
def test_layouts_use_meshes_of_their_split_only(split):
    used = {placed.geometry.variant for seed in range(_LAYOUTS)
            for placed in sample_layout(seed, split).objects
            if placed.geometry.variant is not None}
    assert used
    assert used <= set(meshes.variants_of(split))


def test_layouts_keep_things_apart_and_in_the_picture():
    for seed in range(_LAYOUTS):
        layout = sample_layout(seed, 'train')
        for index, one in enumerate(layout.objects):
            xy = layout.camera.project(np.array([one.position_m]))[0]
            assert (xy > 0).all()
            assert (xy < 1).all()
            for other in layout.objects[:index]:
                apart = np.hypot(*np.subtract(one.position_m[:2], other.position_m[:2]))
                assert apart > one.geometry.radius_m + other.geometry.radius_m


def test_layouts_often_hold_things_that_share_shape_and_colour():
    alike = 0
    for seed in range(_LAYOUTS):
        kinds = [(placed.shape, placed.colour) for placed in sample_layout(seed, 'train').objects]
        alike += len(set(kinds)) < len(kinds)
    assert 0.1 < alike / _LAYOUTS < 0.6


# Camera

def test_camera_when_it_looks_at_a_point_sees_it_in_the_middle_and_upright():
    camera = Camera.look_at(np.array([0.0, -1.0, 0.5]), np.zeros(3), 42.0)
    middle, right, above = camera.project(np.array([[0, 0, 0], [0.1, 0, 0], [0, 0, 0.1]]))
    assert np.allclose(middle, 0.5)
    assert right[0] > 0.5
    assert right[1] == pytest.approx(0.5)
    assert above[1] < 0.5
    assert np.allclose(camera.rotation @ camera.rotation.T, np.eye(3))
    assert np.linalg.det(camera.rotation) == pytest.approx(1.0)


def test_intrinsics_and_project_agree_on_where_a_point_lands():
    camera = Camera.look_at(np.array([0.4, -0.5, 0.4]), np.zeros(3), 40.0)
    points = np.array([[0.1, 0.05, 0.02], [-0.1, 0.0, 0.1]])
    pixels = camera.to_camera(points) @ camera.intrinsics((480, 640)).T
    pixels = pixels[:, :2] / pixels[:, 2:]
    # Pixel centres are whole numbers: the image's left edge is at -0.5.
    assert np.allclose((pixels + 0.5) / [640, 480], camera.project(points))


# Store

def _write(directory, plan, shard, scenes):
    descriptions = [SceneDescription(plan.scene_seed(shard * plan.shard_scenes + row), plan.split,
                                     0, (_thing(1), _thing(2, colour='blue')))
                    for row in range(scenes)]
    rgb = np.full((scenes, *plan.size_hw, 3), shard, dtype=np.uint8)
    write_shard(directory, shard, rgb, rgb[..., 0] + 1, descriptions)


def test_store_when_written_gives_back_pictures_and_descriptions(tmp_path):
    plan = StorePlan('train', 3, (6, 8), 2)
    open_plan(tmp_path, plan)
    _write(tmp_path, plan, 0, 2)
    _write(tmp_path, plan, 1, 1)
    store = SceneStore(tmp_path)
    assert (len(store), store.plan) == (3, plan)
    assert store.rgb(2).shape == (6, 8, 3)
    assert store.rgb(2).max() == 1
    assert (store.segmentation(2) == 2).all()
    assert store.description(2) == SceneDescription(
        30_000_002, 'train', 0, (_thing(1), _thing(2, colour='blue')))
    with pytest.raises(IndexError, match='scene 3 of 3'):
        store.rgb(3)


def test_store_when_a_shard_is_missing_or_half_written_ends_before_it(tmp_path):
    plan = StorePlan('train', 0, (6, 8), 2)
    open_plan(tmp_path, plan)
    _write(tmp_path, plan, 0, 2)
    _write(tmp_path, plan, 2, 2)
    (tmp_path / '.shard-00001').mkdir()
    assert len(SceneStore(tmp_path)) == 2
    _write(tmp_path, plan, 1, 2)
    assert len(SceneStore(tmp_path)) == 6


def test_store_when_a_short_shard_is_not_the_last_then_refused(tmp_path):
    plan = StorePlan('train', 0, (6, 8), 2)
    open_plan(tmp_path, plan)
    _write(tmp_path, plan, 0, 1)
    _write(tmp_path, plan, 1, 2)
    with pytest.raises(ConfigError, match='00000 is not full, and it is not the last'):
        SceneStore(tmp_path)


def test_store_when_empty_or_of_another_plan_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match='samtok train scenes'):
        SceneStore(tmp_path)
    open_plan(tmp_path, StorePlan('train', 0, (6, 8), 2))
    with pytest.raises(ConfigError, match='no finished shard'):
        SceneStore(tmp_path)
    with pytest.raises(ConfigError, match='holds other scenes'):
        open_plan(tmp_path, StorePlan('heldout', 0, (6, 8), 2))


# Rendering

@pytest.fixture(scope='module')
def renderer():
    try:
        from samtok_ros.scenes.renderer import SceneRenderer

        made = SceneRenderer((240, 320))
    except Exception as error:  # whatever a machine without OpenGL raises
        pytest.skip(f'no off-screen drawing here: {error}')
    yield made
    made.close()


def _layout_of(*things, seed=11):
    """A drawn scene whose things are replaced by (shape, geometry, x, y)."""
    base = sample_layout(seed, 'train')
    first = base.objects[0]
    placed = tuple(
        dataclasses.replace(first, object_id=index, shape=shape, geometry=form,
                            position_m=(x, y, 0.0))
        for index, (shape, form, x, y) in enumerate(things, start=1))
    camera = Camera.look_at(np.array([0.0, -0.55, 0.4]), np.array([0, 0, 0.03]), 42.0)
    return dataclasses.replace(base, objects=placed, camera=camera)


_BALL = geometry.Geometry('ball', None, (0.05, 0.05, 0.05))


def test_render_when_repeated_after_another_scene_is_the_same(renderer):
    first = renderer.render(sample_layout(7, 'train'))
    renderer.render(sample_layout(8, 'heldout'))
    again = renderer.render(sample_layout(7, 'train'))
    assert first.rgb.shape == (240, 320, 3)
    assert first.segmentation.dtype == np.uint8
    assert np.array_equal(first.rgb, again.rgb)
    assert np.array_equal(first.segmentation, again.segmentation)


def test_render_of_a_ball_matches_projection_depth_and_size(renderer):
    layout = _layout_of(('ball', _BALL, 0.05, 0.02))
    rendered = renderer.render(layout, depth=True)
    mask = rendered.segmentation == 1
    centre = np.array([[0.05, 0.02, 0.05]])
    rows, columns = np.nonzero(mask)
    expected = layout.camera.project(centre)[0] * [320, 240]
    assert np.allclose([columns.mean() + 0.5, rows.mean() + 0.5], expected, atol=1.0)
    position = layout.camera.to_camera(centre)[0]
    nearest = rendered.depth_m[mask].min()
    assert position[2] - 0.05 == pytest.approx(nearest, abs=0.004)
    radius_px = rendered.intrinsics[0, 0] * 0.05 / np.linalg.norm(position)
    assert np.sqrt(mask.sum() / np.pi) == pytest.approx(radius_px, rel=0.04)


@pytest.mark.parametrize('shape', meshes.MESH_SHAPES)
def test_render_of_a_mesh_when_unprojected_lies_on_the_mesh(renderer, shape):
    variant, scale = 3, (0.9, 0.9, 1.1)
    form = geometry.Geometry(shape, variant, scale)
    layout = _layout_of((shape, form, -0.04, 0.03))
    rendered = renderer.render(layout, depth=True)
    rows, columns = np.nonzero(rendered.segmentation == 1)
    assert len(rows) > 400
    pixels = np.stack([columns, rows, np.ones(len(rows))]) * rendered.depth_m[rows, columns]
    seen = (np.linalg.inv(rendered.intrinsics) @ pixels).T @ layout.camera.rotation.T
    seen = seen + layout.camera.position_m - [-0.04, 0.03, 0.0]
    # Compare around the axis, where yaw does not matter.
    profile = np.stack([np.hypot(seen[:, 0], seen[:, 1]), seen[:, 2]], axis=1)
    assert profile[:, 0].max() < form.radius_m + 0.003
    assert profile[:, 1].min() > -0.003
    assert profile[:, 1].max() == pytest.approx(form.height_m, abs=0.006)


def test_render_when_the_size_is_larger_than_allowed_is_refused(renderer):
    with pytest.raises(ImageError, match='larger max_size_hw'):
        renderer.render(sample_layout(0, 'train'), size_hw=(480, 640))


def test_description_of_a_covered_thing_tells_the_visible_share(renderer):
    from samtok_ros.scenes.describe import describe, is_referable

    alone = _layout_of(('ball', _BALL, 0.0, 0.1))
    both = _layout_of(('ball', _BALL, 0.0, 0.1), ('ball', _BALL, 0.0, -0.02))
    whole = describe(renderer, alone, renderer.render_segmentation(alone)).objects[0]
    segmentation = renderer.render_segmentation(both)
    behind, front = describe(renderer, both, segmentation).objects
    assert whole.visible_fraction == 1.0
    assert front.visible_fraction == 1.0
    assert behind.visible_fraction == pytest.approx(behind.area / whole.area, abs=1e-3)
    assert 0.2 < behind.visible_fraction < 0.9
    assert behind.depth_m > front.depth_m
    x0, y0, x1, y1 = front.box_xyxy
    inside = segmentation[round(y0 * 240):round(y1 * 240), round(x0 * 320):round(x1 * 320)]
    assert (inside == 2).sum() == (segmentation == 2).sum()
    hidden = dataclasses.replace(behind, visible_fraction=0.2)
    assert not is_referable(SceneDescription(0, 'train', 0, (hidden, front)))


def test_described_scene_of_a_seed_is_referable_and_redrawn_from_its_description(renderer):
    from samtok_ros.scenes.describe import is_referable, render_described

    for seed in range(2):
        rendered, description = render_described(renderer, seed, 'heldout')
        assert is_referable(description)
        assert set(np.unique(rendered.segmentation)) - {0} == {
            thing.object_id for thing in description.objects}
        layout = sample_layout(description.seed, description.split, description.attempt)
        assert np.array_equal(renderer.render(layout).rgb, rendered.rgb)


def test_generate_when_killed_and_run_again_keeps_shards_and_completes(renderer, tmp_path):
    from samtok_ros.scenes.generate import generate_scenes

    options = {'split': 'heldout', 'seed': 2, 'size_hw': (60, 80), 'shard_scenes': 2}
    assert generate_scenes(tmp_path, 2, **options) == 2
    kept = (tmp_path / 'shard-00000' / 'rgb.npy').stat().st_mtime_ns
    (tmp_path / '.shard-00001').mkdir()  # what a kill leaves behind
    assert generate_scenes(tmp_path, 3, **options) == 1
    assert (tmp_path / 'shard-00000' / 'rgb.npy').stat().st_mtime_ns == kept
    store = SceneStore(tmp_path)
    assert len(store) == 3
    assert store.rgb(2).shape == (60, 80, 3)
    assert store.description(2).seed == 20_000_002
    assert not list(tmp_path.glob('.shard*'))
    assert generate_scenes(tmp_path, 3, **options) == 0


def test_generate_when_a_shard_is_too_short_then_renders_it_anew(renderer, tmp_path):
    from samtok_ros.scenes.generate import generate_scenes

    options = {'size_hw': (60, 80), 'shard_scenes': 2}
    assert generate_scenes(tmp_path, 1, **options) == 1
    assert generate_scenes(tmp_path, 3, **options) == 3
    store = SceneStore(tmp_path)
    assert [store.description(index).seed for index in range(len(store))] == [0, 1, 2]
    things = {thing.object_id for thing in store.description(2).objects}
    assert set(np.unique(store.segmentation(2))) == things | {0}
    assert generate_scenes(tmp_path, 1, **options) == 0


def test_process_when_it_renders_before_the_compiler_is_loaded_survives(renderer):
    """Two LLVMs in one process: loaded in the other order, the second one crashes it."""
    pytest.importorskip('triton', reason='triton is not installed: there is nothing to clash with')
    code = ('from samtok_ros.scenes.renderer import SceneRenderer\n'
            'from samtok_ros.scenes.describe import render_described\n'
            "renderer = SceneRenderer(); render_described(renderer, 5, 'train', (48, 64))\n"
            'import triton._C.libtriton\n'
            "renderer.close(); print('survived')\n")
    done = subprocess.run([sys.executable, '-P', '-c', code], capture_output=True, text=True,
                          check=False)
    assert done.stdout.strip() == 'survived', done.stderr

# SPDX-License-Identifier: Apache-2.0
"""The bag that ships, bags written and read back, and what is said about damaged ones."""

import json

import numpy as np
import pytest
from demo_samples import INTRINSICS, sample_frame, sample_truth, stamp, write_sample

from samtok_ros.demo.bag_file import BagWriter, open_bag, stamp_of, standard_types
from samtok_ros.demo.camera_bag import (
    COLOUR_INFO_TOPIC,
    COLOUR_SUFFIX,
    COLOUR_TOPIC,
    DEPTH_INFO_TOPIC,
    DEPTH_SUFFIX,
    DEPTH_TOPIC,
    OPTICAL_FRAME,
    TF_STATIC_TOPIC,
    TF_TOPIC,
    CameraBagWriter,
    colour_images,
    depth_images,
)
from samtok_ros.demo.goals import FAMILIES, load_goals
from samtok_ros.demo.make_bag import CAMERA_BAG, DATA_DIR, GOALS_FILE, TRUTH_FILE
from samtok_ros.demo.truth import load_truth, save_truth
from samtok_ros.errors import ConfigError, ImageError
from samtok_ros.image.depth_codec import DEPTH_FORMAT, compressed_to_depth, depth_to_compressed
from samtok_ros.image.encodings import depth_to_metres

MOST_BYTES = 12_000_000


@pytest.fixture(scope='module')
def shipped_truth():
    return load_truth(DATA_DIR / TRUTH_FILE)


@pytest.fixture(scope='module')
def shipped_goals():
    return load_goals(DATA_DIR / GOALS_FILE)


@pytest.fixture(scope='module')
def shipped_records():
    """All messages of the shipped bag but the images, by topic."""
    found = {}
    with open_bag(DATA_DIR / CAMERA_BAG) as bag:
        for message in bag.messages():
            if not message.topic.endswith((COLOUR_SUFFIX, DEPTH_SUFFIX)):
                found.setdefault(message.topic, []).append((message.time_ns, bag.record(message)))
    return found


# The bag that ships

def test_shipped_bag_when_measured_then_it_is_small_enough():
    files = [path for path in DATA_DIR.rglob('*') if path.is_file()]
    assert {path.name for path in files} >= {'metadata.yaml', TRUTH_FILE, GOALS_FILE}
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES


def test_shipped_bag_when_read_then_colour_depth_and_truth_come_together_at_10_hz(shipped_truth):
    with open_bag(DATA_DIR / CAMERA_BAG) as bag:
        colour = [(stamp_ns, image.shape) for stamp_ns, image in colour_images(bag)]
        depth = [(stamp_ns, image.shape) for stamp_ns, image in depth_images(bag)]
    stamps = [stamp_ns for stamp_ns, _ in colour]
    assert len(stamps) >= 100
    assert set(np.diff(stamps)) == {100_000_000}
    assert [stamp_ns for stamp_ns, _ in depth] == stamps == list(shipped_truth)
    assert {shape for _, shape in colour} == {(480, 640, 3)}
    assert {shape for _, shape in depth} == {(480, 640)}


def test_shipped_bag_when_read_then_depth_is_aligned_with_the_true_masks(shipped_truth):
    """Steps between things are at the borders of their masks, at the depths the truth names."""
    with open_bag(DATA_DIR / CAMERA_BAG) as bag:
        depths = dict(depth_images(bag))
    for stamp_ns in list(depths)[::20]:
        for thing in shipped_truth[stamp_ns].objects:
            inside = depths[stamp_ns][thing.mask]
            assert inside.min() > 200
            nearest, farthest = inside.min() / 1000, inside.max() / 1000
            # Its centre is behind its visible side, by less than its own size.
            assert nearest < thing.position_m[2] + 0.01
            assert farthest - nearest < 0.3
            assert abs(np.median(inside) / 1000 - thing.position_m[2]) < 0.12


def test_shipped_bag_when_a_thing_is_projected_then_it_lands_in_its_mask_box(
        shipped_truth, shipped_records):
    for stamp_ns, info in shipped_records[COLOUR_INFO_TOPIC][::20]:
        camera = info.k.reshape(3, 3)
        for thing in shipped_truth[stamp_ns].objects:
            x, y, z = camera @ np.array(thing.position_m)
            rows, columns = np.nonzero(thing.mask)
            # Things in front may hide a part of it, hence the margin.
            assert columns.min() - 60 <= x / z <= columns.max() + 60
            assert rows.min() - 60 <= y / z <= rows.max() + 60


def test_shipped_bag_when_read_then_calibration_and_frames_fit(shipped_records, shipped_truth):
    infos = shipped_records[COLOUR_INFO_TOPIC]
    assert [stamp_of(info) for _, info in infos] == list(shipped_truth)
    for (time_ns, info), (_, depth_info) in zip(
            infos, shipped_records[DEPTH_INFO_TOPIC], strict=True):
        assert time_ns == stamp_of(info) == stamp_of(depth_info)
        assert (info.height, info.width) == (480, 640)
        assert info.header.frame_id == depth_info.header.frame_id == OPTICAL_FRAME
        assert np.array_equal(info.k, depth_info.k)
        assert np.array_equal(info.k.reshape(3, 3), info.p.reshape(3, 4)[:, :3])
        assert info.k[0] == info.k[4] > 100
        assert (info.k[2], info.k[5]) == (319.5, 239.5)
    (_, static), = shipped_records[TF_STATIC_TOPIC]
    assert static.transforms[0].child_frame_id == OPTICAL_FRAME


def test_shipped_bag_when_the_camera_moves_then_slowly_and_only_within_a_scene(
        shipped_records, shipped_truth):
    places = []
    for _, message in shipped_records[TF_TOPIC]:
        place = message.transforms[0].transform.translation
        places.append((place.x, place.y, place.z))
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    scenes = [frame.scene for frame in shipped_truth.values()]
    within = np.diff(scenes) == 0
    assert steps[within].min() > 0.001
    assert steps[within].max() < 0.03
    assert sorted(set(scenes)) == [0, 1, 2, 3]


def test_shipped_goals_when_read_then_every_image_has_one_and_all_kinds_are_there(
        shipped_goals, shipped_truth):
    assert 10 <= len(shipped_goals) <= 14
    assert {goal.kind for goal in shipped_goals} == set(FAMILIES)
    counts = [min(len(goal.targets), 2) for goal in shipped_goals]
    assert min(counts.count(number) for number in (0, 1, 2)) >= 2
    for earlier, later in zip(shipped_goals, shipped_goals[1:], strict=False):
        assert earlier.end_ns == later.start_ns
    for stamp_ns, frame in shipped_truth.items():
        (goal,) = [g for g in shipped_goals if g.start_ns <= stamp_ns < g.end_ns]
        assert goal.scene == frame.scene
        assert frame.mask_of(goal.targets).any() == bool(goal.targets)


def test_shipped_goals_when_compared_with_the_truth_then_plain_attributes_are_right(
        shipped_goals, shipped_truth):
    for goal in shipped_goals:
        if goal.kind not in ('attribute', 'none'):
            continue
        things = shipped_truth[goal.start_ns].objects
        named = tuple(thing.object_id for thing in things
                      if f'the {thing.colour} {thing.shape}' == goal.text
                      or f'the {thing.colour} object' == goal.text
                      or f'the {thing.shape}' == goal.text)
        assert named == goal.targets, goal.text


# Written and read back

@pytest.fixture
def sample(tmp_path):
    return write_sample(tmp_path / 'sample', frames=3)


def test_camera_bag_when_read_back_then_it_holds_what_was_written(sample):
    with open_bag(sample / CAMERA_BAG) as bag:
        assert bag.topics[COLOUR_TOPIC + COLOUR_SUFFIX] == 'sensor_msgs/msg/CompressedImage'
        colour, depth = list(colour_images(bag)), list(depth_images(bag))
        message = next(bag.messages(DEPTH_TOPIC + DEPTH_SUFFIX))
        assert bag.record(message).format == DEPTH_FORMAT
        info = bag.record(next(bag.messages(COLOUR_INFO_TOPIC)))
    assert np.array_equal(info.k.reshape(3, 3), INTRINSICS)
    for index, ((stamp_ns, rgb), (depth_stamp, depth_mm)) in enumerate(
            zip(colour, depth, strict=True)):
        frame = sample_frame(index)
        assert stamp_ns == depth_stamp == stamp(index)
        assert np.array_equal(depth_mm, frame.depth_mm)
        assert np.abs(rgb.astype(int) - frame.rgb).mean() < 4


def test_camera_bag_when_read_back_then_poses_take_points_to_the_world(sample):
    from scipy.spatial.transform import Rotation

    def matrix(transform):
        turn, place = transform.rotation, transform.translation
        whole = np.eye(4)
        whole[:3, :3] = Rotation.from_quat([turn.x, turn.y, turn.z, turn.w]).as_matrix()
        whole[:3, 3] = place.x, place.y, place.z
        return whole

    with open_bag(sample / CAMERA_BAG) as bag:
        (static,) = (bag.record(m).transforms[0] for m in bag.messages(TF_STATIC_TOPIC))
        moving = [bag.record(m).transforms[0] for m in bag.messages(TF_TOPIC)]
    assert (static.header.frame_id, static.child_frame_id) == (
        moving[0].child_frame_id, OPTICAL_FRAME)
    for index, transform in enumerate(moving):
        frame = sample_frame(index)
        chain = matrix(transform.transform) @ matrix(static.transform)
        assert np.allclose(chain[:3, :3], frame.rotation)
        assert np.allclose(chain[:3, 3], frame.position_m)


def test_truth_when_read_back_then_masks_are_the_same(tmp_path):
    save_truth(tmp_path / 'truth.jsonl', [sample_truth(0), sample_truth(1, scene=1)])
    frames = load_truth(tmp_path / 'truth.jsonl')
    assert list(frames) == [stamp(0), stamp(1)]
    assert frames[stamp(1)].scene == 1
    for index, frame in enumerate(frames.values()):
        for found, expected in zip(frame.objects, sample_truth(index).objects, strict=True):
            assert np.array_equal(found.mask, expected.mask)
            assert (found.object_id, found.colour, found.position_m) == (
                expected.object_id, expected.colour, expected.position_m)


def test_mask_of_targets_when_two_are_named_then_it_is_their_union():
    frame = sample_truth(0)
    both = frame.mask_of((1, 2))
    assert both.sum() == 12 * 12 + 10 * 14
    assert not frame.mask_of(()).any()
    with pytest.raises(ConfigError, match=r'truth lacks a target of a goal: expected \[1, 2\]'):
        frame.mask_of((3,))


# Depth codec

def test_depth_when_compressed_and_back_then_it_is_the_same():
    depth = np.random.default_rng(0).integers(0, 65536, (7, 9)).astype(np.uint16)
    data = depth_to_compressed(depth)
    assert data[:12] == bytes(12)
    assert data[12:16] == b'\x89PNG'
    assert np.array_equal(compressed_to_depth(data), depth)


def test_depth_when_decoded_then_the_reader_of_depth_images_takes_it():
    depth = np.array([[0, 1234]], np.uint16)
    metres = depth_to_metres(compressed_to_depth(depth_to_compressed(depth)).tobytes(), 1, 2,
                             '16UC1', 4)
    assert np.isnan(metres[0, 0])
    assert metres[0, 1] == pytest.approx(1.234)


@pytest.mark.parametrize(('change', 'text'), [
    (lambda data: data[12:], 'of another kind'),
    (lambda data: data[:30], 'damaged'),
    (lambda data: b'', 'of another kind'),
])
def test_depth_when_data_are_no_compressed_depth_then_it_is_said(change, text):
    data = depth_to_compressed(np.ones((4, 4), np.uint16))
    with pytest.raises(ImageError, match=text):
        compressed_to_depth(change(data))


def test_depth_when_not_millimetres_then_it_is_refused():
    with pytest.raises(ImageError, match=r'expected \(H, W\) uint16 millimetres'):
        depth_to_compressed(np.ones((4, 4), np.float32))


# Bad input

def test_bag_when_it_is_not_there_then_the_way_out_is_named(tmp_path):
    with (pytest.raises(ConfigError, match='samtok make-bag'), open_bag(tmp_path / 'nothing')):
        pass


def test_bag_when_its_file_is_cut_short_then_it_is_said(sample):
    path = sample / CAMERA_BAG / 'camera.mcap'
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ConfigError, match='cannot be read'), open_bag(sample / CAMERA_BAG) as bag:
        list(bag.messages())


def test_bag_when_it_exists_then_it_is_not_overwritten(sample):
    with pytest.raises(ConfigError, match='exists already'):
        CameraBagWriter(sample / CAMERA_BAG, 95)


def test_message_when_its_bytes_do_not_fit_then_it_is_said(tmp_path):
    with BagWriter(tmp_path / 'bag', standard_types()) as bag:
        bag.write('/text', 'std_msgs/msg/String', 1, b'\x00\x01\x00\x00\xff\x00\x00\x00abc')
    with open_bag(tmp_path / 'bag') as bag:
        message, = bag.messages()
        with pytest.raises(ConfigError, match='message on /text is damaged'):
            bag.record(message)


@pytest.mark.parametrize('text', ['', '{', '[{"text": "a mug"}]', '[1]'])
def test_goals_when_damaged_then_the_file_is_named(tmp_path, text):
    path = tmp_path / 'goals.json'
    path.write_text(text)
    with pytest.raises(ConfigError, match='goals.json'):
        load_goals(path)


def test_goals_when_there_are_none_then_it_is_said(tmp_path):
    path = tmp_path / 'goals.json'
    path.write_text('[]')
    with pytest.raises(ConfigError, match='holds no goal'):
        load_goals(path)


def test_truth_when_a_line_is_damaged_then_its_number_is_named(sample):
    path = sample / TRUTH_FILE
    lines = path.read_text().splitlines()
    row = json.loads(lines[1])
    row['objects'][0]['rle'][0] += 1
    path.write_text('\n'.join([lines[0], json.dumps(row)]))
    with pytest.raises(ConfigError, match='line 2'):
        load_truth(path)

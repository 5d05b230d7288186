# SPDX-License-Identifier: Apache-2.0
"""Regions as messages of vision_msgs: with classes of its layout, and with itself where it is."""

import numpy as np
import pytest
from harness import START_NS, latched, stamp_ns
from mask_bench import CORNER, MIDDLE, TOP, MaskBench
from vision_stand_ins import STAND_INS

from samtok_ros.masks.boxes import with_mask
from samtok_ros.nodes.vision_messages import (
    label_table,
    to_detections,
    to_label_info,
    vision_types,
)
from samtok_ros.regions import ImageSize, Region
from samtok_ros.runtime.records import FrameResult

TYPES = [
    pytest.param(STAND_INS, id='stand-ins'),
    pytest.param(vision_types(), id='vision_msgs', marks=pytest.mark.skipif(
        vision_types() is None, reason='vision_msgs is not installed')),
]


def region(number, rows, label='mug', score=0.5):
    mask = np.array([[letter == '#' for letter in row] for row in rows])
    return with_mask(Region(number, (1, 2), label, score), mask, 0.75)


def result(*regions):
    return FrameResult(START_NS, 'camera', ImageSize(3, 5), 'fake@1', 'mugs', 1, '', complete=True,
                       regions=regions)


@pytest.mark.parametrize('types', TYPES)
def test_detections_when_made_then_boxes_classes_and_stamps_are_those_of_the_regions(types):
    message = to_detections(result(
        region(1, ('.##..', '.##..', '.....'), 'red mug', 0.25),
        region(2, ('.....', '.....', '.....')),
        region(7, ('#####', '#####', '#####'), '', 1.0)), types)
    assert (stamp_ns(message), message.header.frame_id) == (START_NS, 'camera')
    first, second = message.detections
    assert (first.id, second.id) == ('1', '7')
    assert stamp_ns(first) == stamp_ns(second) == START_NS
    (hypothesis,) = first.results
    assert (hypothesis.hypothesis.class_id, hypothesis.hypothesis.score) == ('red mug', 0.25)
    assert second.results[0].hypothesis.class_id == 'region 7'
    # Two columns from 1 to 3, two rows from 0 to 2, right and bottom edges outside.
    assert (first.bbox.center.position.x, first.bbox.center.position.y) == (2.0, 1.0)
    assert (first.bbox.size_x, first.bbox.size_y, first.bbox.center.theta) == (2.0, 2.0, 0.0)
    assert (second.bbox.center.position.x, second.bbox.size_x) == (2.5, 5.0)


@pytest.mark.parametrize('types', TYPES)
def test_label_info_when_made_then_it_names_every_number_of_the_label_image(types):
    regions = (region(1, ('#....',), 'red mug'), region(3, ('.#...',), ''), region(0, ('#....',)),
               region(65535, ('#....',)))
    table = label_table(regions)
    assert table == ((1, 'red mug'), (3, 'region 3'))
    message = to_label_info(result(*regions), table, types)
    assert stamp_ns(message) == START_NS
    assert [(entry.class_id, entry.class_name) for entry in message.class_map] == list(table)
    assert message.threshold == 0.0


def test_detections_and_label_info_when_words_come_then_they_go_out_and_names_are_latched(world):
    msg = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is not installed')
    bench = MaskBench(world)
    detections = world.peer.listen(msg.Detection2DArray, 'detections')
    bench.wait_for_listeners('detections', 1)
    bench.ask(START_NS, MIDDLE, CORNER, labels=['mug', 'cup'])
    bench.ask(START_NS + 1, TOP, MIDDLE, labels=['mug', 'cup'])
    found = detections.wait(count=2)
    assert [stamp_ns(message) for message in found] == [START_NS, START_NS + 1]
    assert [len(message.detections) for message in found] == [2, 2]
    late = world.peer.listen(msg.LabelInfo, 'label_info', latched())
    # The names are those of the first image: nothing has changed in the second.
    assert stamp_ns(late.wait()) == START_NS
    bench.ask(START_NS + 2, TOP, labels=['bowl'])
    changed = late.wait(lambda m: stamp_ns(m) == START_NS + 2)
    assert [(entry.class_id, entry.class_name) for entry in changed.class_map] == [(1, 'bowl')]
    assert len(late.messages) == 2


def test_detections_when_vision_msgs_is_missing_then_the_log_says_so_and_nothing_else_is(world):
    if vision_types() is not None:
        pytest.skip('vision_msgs is installed')
    bench = MaskBench(world)
    bench.program.wait_for_log('vision_msgs is not installed: detections and label_info are not')
    assert len(bench.ask(START_NS, MIDDLE).masks) == 1
    names = dict(world.peer.node.get_topic_names_and_types())
    assert '/samtok/label_image' in names
    assert not {'/samtok/detections', '/samtok/label_info'} & names.keys()

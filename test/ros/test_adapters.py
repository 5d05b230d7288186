# SPDX-License-Identifier: Apache-2.0
"""What the adapters hand to other people's programs, field by field."""

import array
from contextlib import ExitStack

import cv2
import numpy as np
import pytest
from example_bench import EXAMPLES, load_example, running_example
from harness import START_NS, reliable, set_stamp, stamp_ns, wait_until
from sensor_msgs.msg import CameraInfo, Image
from shape_msgs.msg import SolidPrimitive

from samtok_ros.msg import Goal, LiftedTarget

same_stamp = load_example('adapters/same_stamp')
foundation_pose = load_example('adapters/foundation_pose')
grasp_networks = load_example('adapters/grasp_networks')
moveit = load_example('adapters/moveit_collision_object')

HEIGHT, WIDTH = 12, 16
K = [20.0, 0.0, 7.5, 0.0, 21.0, 5.5, 0.0, 0.0, 1.0]
RGB = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
DEPTH_MM = np.random.default_rng(1).integers(500, 900, (HEIGHT, WIDTH), np.uint16)
DEPTH_MM[0] = 0
MASK = np.zeros((HEIGHT, WIDTH), bool)
MASK[2:10, 4:12] = True


def message_of(values, encoding, ns=START_NS, padding=0):
    """An image message; `padding` bytes follow each row."""
    rows = np.ascontiguousarray(values).view(np.uint8).reshape(values.shape[0], -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    message = Image(height=values.shape[0], width=values.shape[1], encoding=encoding,
                    step=rows.shape[1], data=array.array('B', rows.tobytes()))
    return with_header(message, ns)


def with_header(message, ns=START_NS, frame='camera_color_optical_frame'):
    set_stamp(message.header, ns)
    message.header.frame_id = frame
    return message


def camera_info():
    return with_header(CameraInfo(height=HEIGHT, width=WIDTH, k=K))


def quadruple(**changes):
    """Messages of one image as the nodes and a driver send them."""
    return {'image': message_of(RGB, 'rgb8'), 'depth': message_of(DEPTH_MM, '16UC1'),
            'mask': message_of(MASK.astype(np.uint8) * 255, 'mono8'),
            'camera_info': camera_info()} | changes


def scene(**changes):
    labels = np.where(MASK, 3, 0).astype('<u2')
    labels[5, 13] = 1
    return {'image': message_of(RGB, 'rgb8'), 'depth': message_of(DEPTH_MM, '16UC1'),
            'camera_info': camera_info(), 'label_image': message_of(labels, '16UC1')} | changes


# Pixels

@pytest.mark.parametrize(('values', 'encoding', 'big'), [
    (DEPTH_MM.astype('<u2'), '16UC1', 0), (DEPTH_MM.astype('>u2'), '16UC1', 1),
    (np.where(DEPTH_MM, DEPTH_MM / 1000, np.nan).astype('<f4'), '32FC1', 0)])
def test_depth_when_read_then_it_is_metres_and_nothing_is_zero(values, encoding, big):
    message = message_of(values, encoding, padding=6)
    message.is_bigendian = big
    depth_m = same_stamp.depth_in_metres(message)
    assert depth_m.dtype == np.float32
    assert np.allclose(depth_m, DEPTH_MM / 1000)
    assert not depth_m[0].any()


def test_depth_when_the_encoding_is_another_then_it_is_refused():
    with pytest.raises(ValueError, match="encoding 'mono16', not 16UC1 or 32FC1"):
        same_stamp.depth_in_metres(message_of(DEPTH_MM, 'mono16'))


# FoundationPose

def test_quadruple_when_made_then_stamps_sizes_and_encodings_are_what_the_estimator_reads():
    given = quadruple()
    made = foundation_pose.make_quadruple(**given)
    messages = [made.image, made.depth_image, made.segmentation, made.camera_info]
    assert {stamp_ns(message) for message in messages} == {START_NS}
    assert {message.header.frame_id for message in messages} == {'camera_color_optical_frame'}
    assert {(message.height, message.width) for message in messages} == {(HEIGHT, WIDTH)}
    assert (made.image, made.segmentation, made.camera_info) == (
        given['image'], given['mask'], given['camera_info'])
    assert (made.depth_image.encoding, made.depth_image.step) == ('32FC1', 4 * WIDTH)
    depth = np.frombuffer(made.depth_image.data, '<f4').reshape(HEIGHT, WIDTH)
    assert np.allclose(depth, DEPTH_MM / 1000)
    mask = np.frombuffer(made.segmentation.data, np.uint8).reshape(HEIGHT, WIDTH)
    assert made.segmentation.encoding == 'mono8'
    assert set(np.unique(mask)) == {0, 255}


@pytest.mark.parametrize(('change', 'reason'), [
    ({'depth': message_of(DEPTH_MM, '16UC1', START_NS + 1)}, 'depth has stamp'),
    ({'mask': with_header(message_of(MASK.astype(np.uint8), 'mono8'), frame='other')},
     'mask has frame other'),
    ({'depth': message_of(DEPTH_MM[:6], '16UC1')}, r'depth has size \(16, 6\)'),
    ({'image': message_of(RGB, 'bgr8')}, "image has encoding 'bgr8', not 'rgb8'"),
    ({'mask': message_of(MASK.astype(np.uint16), '16UC1')}, "mask has encoding '16UC1'"),
    ({'mask': message_of(np.zeros((HEIGHT, WIDTH), np.uint8), 'mono8')}, 'the mask is empty'),
    ({'depth': message_of(np.where(MASK, 0, DEPTH_MM).astype(np.uint16), '16UC1')},
     '0 of 64 pixels of the mask have depth'),
    ({'camera_info': with_header(CameraInfo(height=HEIGHT, width=WIDTH))}, 'no calibration'),
])
def test_quadruple_when_something_does_not_fit_then_it_is_named(change, reason):
    with pytest.raises(ValueError, match=reason):
        foundation_pose.make_quadruple(**quadruple(**change))


# Contact-GraspNet and AnyGrasp

def test_scene_file_when_read_as_the_network_does_then_depth_segments_and_colours_are_right(
        tmp_path):
    np.savez(tmp_path / 'scene.npz', **grasp_networks.contact_graspnet_input(**scene()))
    data = np.load(tmp_path / 'scene.npz')  # nothing pickled
    assert {'depth', 'K', 'segmap', 'rgb'} <= set(data.files)
    assert (data['depth'].dtype, data['depth'].shape) == (np.float32, (HEIGHT, WIDTH))
    assert np.allclose(data['depth'], DEPTH_MM / 1000)
    assert np.array_equal(data['K'].reshape(3, 3), np.reshape(K, (3, 3)))
    assert data['segmap'].shape == data['depth'].shape
    assert np.issubdtype(data['segmap'].dtype, np.integer)
    assert sorted(np.unique(data['segmap'][data['segmap'] > 0])) == [1, 3]
    assert np.array_equal(data['segmap'] == 3, MASK)
    assert np.array_equal(cv2.cvtColor(data['rgb'], cv2.COLOR_BGR2RGB), RGB)
    assert data['stamp'].tolist() == [START_NS // 10**9, START_NS % 10**9]


def test_scene_when_the_camera_sends_bgr_then_the_file_is_the_same():
    bgr = scene(image=message_of(RGB[..., ::-1], 'bgr8'))
    assert np.array_equal(grasp_networks.contact_graspnet_input(**bgr)['rgb'],
                          grasp_networks.contact_graspnet_input(**scene())['rgb'])


@pytest.mark.parametrize(('change', 'reason'), [
    ({'label_image': message_of(MASK.astype(np.uint8), 'mono8')}, "'mono8'"),
    ({'label_image': message_of(MASK.astype('<u2')[:6], '16UC1')}, 'label_image has size'),
    ({'depth': message_of(DEPTH_MM, '16UC1', START_NS - 1)}, 'depth has stamp')])
def test_scene_when_something_does_not_fit_then_it_is_named(change, reason):
    with pytest.raises(ValueError, match=reason):
        grasp_networks.contact_graspnet_input(**scene(**change))


def test_anygrasp_when_one_thing_is_wanted_then_the_scene_comes_with_limits_around_it():
    arrays = grasp_networks.contact_graspnet_input(**scene())
    points, colours, limits = grasp_networks.anygrasp_input(arrays, 3)
    assert points.dtype == colours.dtype == np.float32
    assert points.shape == colours.shape == ((HEIGHT - 1) * WIDTH, 3)
    # Row by row from the second one; the first has no depth.
    row, column = 5, 13
    index = (row - 1) * WIDTH + column
    z = DEPTH_MM[row, column] / 1000
    assert np.allclose(points[index], [(column - 7.5) / 20 * z, (row - 5.5) / 21 * z, z])
    assert np.allclose(colours[index], RGB[row, column] / 255)
    rows, columns = np.nonzero(MASK)
    thing = points[(rows - 1) * WIDTH + columns]
    low, high = np.array(limits).reshape(3, 2).T
    assert np.allclose(low, thing.min(axis=0) - 0.05)
    assert np.allclose(high, thing.max(axis=0) + 0.05)
    with pytest.raises(ValueError, match='no pixel of region 2 has depth'):
        grasp_networks.anygrasp_input(arrays, 2)


# MoveIt

def lifted(**fields):
    target = with_header(LiftedTarget(**({'status': LiftedTarget.OK} | fields)))
    target.box_pose.position.x, target.box_pose.orientation.z = 0.3, 0.6
    target.box_pose.orientation.w = 0.8
    target.box_size.x, target.box_size.y, target.box_size.z = 0.08, 0.05, 0.11
    return target


def test_box_fields_when_a_target_is_good_then_they_are_those_of_a_collision_object():
    target = lifted()
    fields = moveit.box_fields(target, 'mug')
    assert set(fields) == {'header', 'id', 'pose', 'primitives', 'primitive_poses'}
    assert (fields['header'], fields['id'], fields['pose']) == (
        target.header, 'mug', target.box_pose)
    (box,), (own_pose,) = fields['primitives'], fields['primitive_poses']
    assert box.type == SolidPrimitive.BOX
    assert np.allclose([box.dimensions[SolidPrimitive.BOX_X], box.dimensions[SolidPrimitive.BOX_Y],
                        box.dimensions[SolidPrimitive.BOX_Z]], [0.08, 0.05, 0.11])
    # The pose of the object says it all; the box is not moved within the object.
    assert (own_pose.position.x, own_pose.orientation.z, own_pose.orientation.w) == (0.0, 0.0, 1.0)


def test_box_fields_when_a_target_is_bad_then_it_says_why():
    with pytest.raises(ValueError, match='it is shiny'):
        moveit.box_fields(lifted(status=LiftedTarget.NO_DEPTH, message='it is shiny'), 'mug')
    flat = lifted()
    flat.box_size.z = 0.0
    with pytest.raises(ValueError, match='the target has no box'):
        moveit.box_fields(flat, 'mug')


def test_collision_object_when_built_then_a_good_target_is_added_and_a_bad_one_removed():
    messages = pytest.importorskip('moveit_msgs.msg', reason='moveit_msgs is not installed')
    added = moveit.collision_object(lifted(), 'mug')
    assert isinstance(added, messages.CollisionObject)
    assert (added.operation, added.id, added.pose.position.x) == (
        messages.CollisionObject.ADD, 'mug', 0.3)
    gone = moveit.collision_object(lifted(status=LiftedTarget.LOST), 'mug')
    assert (gone.operation, gone.id) == (messages.CollisionObject.REMOVE, 'mug')
    assert not gone.primitives


# Beside the nodes

def test_adapters_when_run_beside_the_nodes_then_they_pass_on_what_belongs_together(world):
    world.start('perception')
    world.start('lifting', {'autostart': True})
    heard = {name: world.peer.listen(kind, f'/pose_estimation/{name}', reliable())
             for name, kind in (('image', Image), ('depth_image', Image), ('segmentation', Image),
                                ('camera_info', CameraInfo))}
    with ExitStack() as stack:
        # Before a flat wall any mask fits its depth, made-up ones too.
        stack.enter_context(running_example(world, 'camera', EXAMPLES / 'table.jpg'))
        stack.enter_context(running_example(world, 'adapters/foundation_pose'))
        writer = stack.enter_context(running_example(
            world, 'adapters/grasp_networks', world.folder / 'scene.npz'))
        goals = world.peer.publisher(Goal, 'goal')
        world.peer.value('grounding', 'input', 'matched_publishers', lambda count: count == '1')
        goals.publish(Goal(text='one bowl'))
        # The four connect one after the other, and what is sent before that is lost.
        ns = wait_until(lambda: max(set.intersection(*(
            {stamp_ns(m) for m in list(received.messages)} for received in heard.values())),
            default=None), lambda: 'four messages of one stamp, came: ' + str(
                {name: len(received.messages) for name, received in heard.items()}))
        wait_until(lambda: writer.has_ended, lambda: writer.log)
    segmentation = heard['segmentation'].wait(lambda m: stamp_ns(m) == ns)
    assert segmentation.encoding == 'mono8'
    mask = np.frombuffer(segmentation.data, np.uint8).reshape(segmentation.height, -1)
    for name, received in heard.items():
        message = received.wait(lambda m: stamp_ns(m) == ns)
        assert (message.width, message.height) == (320, 240), name
    depth = same_stamp.depth_in_metres(heard['depth_image'].wait(lambda m: stamp_ns(m) == ns))
    assert np.count_nonzero(depth[mask > 0]) >= foundation_pose.LEAST_PX
    scene_file = np.load(world.folder / 'scene.npz')
    assert f'--np_path={world.folder / "scene.npz"} --segmap_id=' in writer.log
    segment = int(writer.log.split('--segmap_id=')[1].split()[0])
    assert (scene_file['segmap'] == segment).any()

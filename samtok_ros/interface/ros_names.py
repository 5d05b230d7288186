# SPDX-License-Identifier: Apache-2.0
"""Every name that the nodes have in ROS: the table behind docs/interfaces.md and the SROS 2 policy.

The nodes do not read it; a test compares it with what running nodes advertise. Names are relative
to the namespace of the nodes, except those with a leading slash; ~ is the name of the node.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

GROUNDING, MASK_TOKENIZER, LIFTING = 'grounding', 'mask_tokenizer', 'lifting'
BOTH = (GROUNDING, MASK_TOKENIZER)
"""The nodes with a model."""
NODES = (*BOTH, LIFTING)
_BOX = {'kind': 3, 'box': {'x_offset': 120, 'y_offset': 80, 'width': 60, 'height': 50}}


@dataclass(frozen=True)
class Topic:
    """A topic.

    Attributes:
        name: relative name.
        type: of its messages, such as samtok_ros/msg/Goal.
        quality: QoS as the nodes choose it.
        meaning: a clause without a full stop.
        writers: nodes of ours that publish it.
        readers: nodes of ours that subscribe to it.
        command: what one types to see it, or to send to it; NS stands for the namespace.
        package: of its type, when it is there only where this optional package is; else ''.
    """

    name: str
    type: str
    quality: str
    meaning: str
    writers: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    command: str = ''
    package: str = ''


@dataclass(frozen=True)
class Call:
    """A service or an action.

    Attributes:
        name: relative name.
        type: such as samtok_ros/srv/EncodeMask or samtok_ros/action/Ground.
        server: node of ours that answers.
        meaning: a clause without a full stop.
        example: fields of a request that one may try.
        clients: nodes of ours that call it, from another process.
    """

    name: str
    type: str
    server: str
    meaning: str
    example: Mapping[str, Any] = field(default_factory=dict)
    clients: tuple[str, ...] = ()

    @property
    def is_action(self) -> bool:
        """True for an action, False for a service."""
        return '/action/' in self.type


_RELIABLE, _LATCHED = 'reliable, last 100', 'reliable, transient local, last 1'
_PICTURE, _IMAGES = 'reliable, last 1', 'best effort, last 1'
_VIEW = 'ros2 run rqt_image_view rqt_image_view'

TOPICS = (
    Topic('image', 'sensor_msgs/msg/Image', _IMAGES, 'images of the camera; must have a stamp',
          readers=BOTH, command='ros2 topic info --verbose NS/image'),
    Topic('image/compressed', 'sensor_msgs/msg/CompressedImage', _IMAGES,
          'the same as JPEG or PNG, see `input.transport`', readers=BOTH,
          command='ros2 topic hz NS/image/compressed'),
    Topic('depth', 'sensor_msgs/msg/Image', 'as offered, last 10',
          'depth aligned to the colour image, with its stamps: `16UC1` in millimetres or `32FC1` '
          'in metres', readers=(LIFTING,), command='ros2 topic hz NS/depth'),
    Topic('depth/compressedDepth', 'sensor_msgs/msg/CompressedImage', 'as offered, last 10',
          'the same as PNG, where nobody publishes `depth`', readers=(LIFTING,),
          command='ros2 topic hz NS/depth/compressedDepth'),
    Topic('camera_info', 'sensor_msgs/msg/CameraInfo', 'as offered, last 10',
          'calibration of the colour camera', readers=(LIFTING,),
          command='ros2 topic echo --once NS/camera_info'),
    Topic('goal', 'samtok_ros/msg/Goal', _RELIABLE,
          'what to look for; holds until another one comes, an empty text clears it; the same text '
          'again changes nothing (with `input.every_frame` it counts from its stamp on)',
          readers=(GROUNDING, MASK_TOKENIZER),
          command='ros2 topic pub --once NS/goal samtok_ros/msg/Goal "{text: the red mug}"'),
    Topic('mask_words', 'samtok_ros/msg/MaskWords', _RELIABLE,
          'codes, label and score of each region, and the answer text; one message per region '
          'while the model speaks, one with `complete` at the end', (GROUNDING,), (MASK_TOKENIZER,),
          'ros2 topic echo NS/mask_words --field answer'),
    Topic('masks', 'samtok_ros/msg/RegionMasks', _RELIABLE,
          'the same regions as exact run-length masks, and where they are in the images until the '
          'next answer', (MASK_TOKENIZER,), (LIFTING,),
          command='ros2 topic echo NS/masks --no-arr'),
    Topic('target/mask', 'sensor_msgs/msg/Image', _LATCHED,
          '`mono8`, 255 on the region with the best score, else 0; all 0 when nothing fits',
          (MASK_TOKENIZER,), command=f'{_VIEW} NS/target/mask'),
    Topic('label_image', 'sensor_msgs/msg/Image', _PICTURE,
          'the id of the region at each pixel, 0 for none; made only while somebody listens',
          (MASK_TOKENIZER,), command=f'{_VIEW} NS/label_image'),
    Topic('label_info', 'vision_msgs/msg/LabelInfo', _LATCHED,
          'which name belongs to which number in `label_image` and `detections`',
          (MASK_TOKENIZER,), command='ros2 topic echo NS/label_info --qos-durability '
          'transient_local --qos-reliability reliable', package='vision_msgs'),
    Topic('detections', 'vision_msgs/msg/Detection2DArray', _RELIABLE,
          'box, name and score of each region', (MASK_TOKENIZER,),
          command='ros2 topic echo NS/detections', package='vision_msgs'),
    Topic('overlay/compressed', 'sensor_msgs/msg/CompressedImage', _PICTURE,
          'JPEG for people; made only while somebody listens', (MASK_TOKENIZER,),
          command=f'{_VIEW} NS/overlay/compressed'),
    Topic('target/points', 'sensor_msgs/msg/PointCloud2', _LATCHED,
          'visible surface of the target: `x`, `y`, `z` in metres in the optical frame; without '
          'points when there is nothing to grasp', (LIFTING,),
          command='ros2 topic echo --no-arr NS/target/points --qos-durability transient_local '
          '--qos-reliability reliable'),
    Topic('target/box', 'samtok_ros/msg/LiftedTarget', _LATCHED,
          'oriented box of the target, how far to trust it, and if not, why', (LIFTING,),
          command='ros2 topic echo NS/target/box --qos-durability transient_local '
          '--qos-reliability reliable'),
    Topic('scene/points', 'sensor_msgs/msg/PointCloud2', _PICTURE,
          'organised cloud of everything but the target, with `scene.enabled`; made only while '
          'somebody listens', (LIFTING,), command='ros2 topic hz NS/scene/points'),
    Topic('markers', 'visualization_msgs/msg/MarkerArray', _LATCHED,
          'box, label and centroid of the target, for RViz', (LIFTING,),
          command='ros2 topic echo --once NS/markers --qos-durability transient_local '
          '--qos-reliability reliable'),
    Topic('detections_3d', 'vision_msgs/msg/Detection3DArray', _RELIABLE,
          'box, name and score of each region that can be lifted; made only while somebody '
          'listens', (LIFTING,), command='ros2 topic echo NS/detections_3d',
          package='vision_msgs'),
    Topic('/diagnostics', 'diagnostic_msgs/msg/DiagnosticArray', 'reliable, last 10',
          'once a second: what each part of each node does, and why it does not', NODES,
          command='ros2 topic echo /diagnostics'),
)

CALLS = (
    Call('ground', 'samtok_ros/action/Ground', GROUNDING,
         'find what a text describes in one image', {'text': 'the red mug'}),
    Call('ask', 'samtok_ros/action/Ask', GROUNDING,
         'ask about an image or regions of it, and see the answer grow',
         {'text': 'What colour is <region:1>?', 'regions': [_BOX]}),
    Call('ask_region', 'samtok_ros/srv/AskRegion', GROUNDING,
         'the same as a plain service, for a short question',
         {'text': 'What colour is <region:1>?', 'regions': [_BOX]}),
    Call('clear', 'std_srvs/srv/Trigger', GROUNDING,
         'clear the standing goal, all conversations and all waiting goals'),
    Call('decode_mask_words', 'samtok_ros/srv/DecodeMaskWords', MASK_TOKENIZER,
         'turn mask words into masks on a cached frame', {'words': [{'codes': [245, 5]}]},
         clients=(GROUNDING,)),
    Call('encode_mask', 'samtok_ros/srv/EncodeMask', MASK_TOKENIZER,
         'turn masks, boxes or points on a cached frame into mask words', {'regions': [_BOX]},
         clients=(GROUNDING,)),
    Call('get_cached_frames', 'samtok_ros/srv/GetCachedFrames', MASK_TOKENIZER,
         'list the frames that calls can refer to by stamp', {'max_frames': 5}),
)

NODE_TOPICS = (
    Topic('~/transition_event', 'lifecycle_msgs/msg/TransitionEvent', '', '', NODES),
    Topic('/rosout', 'rcl_interfaces/msg/Log', '', '', NODES),
    Topic('/parameter_events', 'rcl_interfaces/msg/ParameterEvent', '', '', NODES),
    Topic('/clock', 'rosgraph_msgs/msg/Clock', '', '', readers=NODES),
)
"""What every lifecycle node has; /clock is read with use_sim_time."""

NODE_SERVICES: Mapping[str, str] = {
    'change_state': 'lifecycle_msgs/srv/ChangeState',
    'get_state': 'lifecycle_msgs/srv/GetState',
    'get_available_states': 'lifecycle_msgs/srv/GetAvailableStates',
    'get_available_transitions': 'lifecycle_msgs/srv/GetAvailableTransitions',
    'get_transition_graph': 'lifecycle_msgs/srv/GetAvailableTransitions',
    'describe_parameters': 'rcl_interfaces/srv/DescribeParameters',
    'get_parameter_types': 'rcl_interfaces/srv/GetParameterTypes',
    'get_parameters': 'rcl_interfaces/srv/GetParameters',
    'list_parameters': 'rcl_interfaces/srv/ListParameters',
    'set_parameters': 'rcl_interfaces/srv/SetParameters',
    'set_parameters_atomically': 'rcl_interfaces/srv/SetParametersAtomically',
    'get_type_description': 'type_description_interfaces/srv/GetTypeDescription',
}
"""What every lifecycle node answers below its own name."""

# SPDX-License-Identifier: Apache-2.0
"""The SROS 2 policy: what each process may publish, read, answer and call, and nothing more.

`python -m samtok_ros.interface.security_policy` prints config/sros2/policy.xml; `samtok policy`
does it for other namespaces and cameras. Format: version 0.2.0 of the policies of the package
sros2.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from samtok_ros.bring_up.programs import DEFAULT_NAMESPACE, check_name
from samtok_ros.interface.ros_names import BOTH, CALLS, NODE_SERVICES, NODE_TOPICS, NODES, TOPICS

PEER = 'peer'
"""Whoever uses the whole interface from outside: a pattern for planners, cameras and viewers."""

PROCESSES: Mapping[str, tuple[str, ...]] = {
    'perception': BOTH, **{node: (node,) for node in NODES}, PEER: (PEER,)}
"""Nodes of each process; its enclave is called /NAMESPACE/PROCESS."""

_HEAD = """\
<?xml version="1.0" encoding="UTF-8"?>
<!-- SPDX-License-Identifier: Apache-2.0 -->
<!-- Written by samtok_ros/interface/security_policy.py; `samtok policy` writes it for another
     namespace or image topic. One enclave for each process: perception holds grounding and
     mask_tokenizer; peer is a pattern for programs that use them, of which one leaves out what a
     program does not need. -->
"""

Rules = tuple[str, str, str, list[str]]


@dataclass(frozen=True)
class CameraTopics:
    """Topics of the camera, as for the launch file.

    Attributes:
        image: colour images.
        depth: depth images aligned to them.
        camera_info: calibration.
    """

    image: str = 'image'
    depth: str = 'depth'
    camera_info: str = 'camera_info'

    def names(self) -> dict[str, str]:
        """Return the name of each topic that a node reads from the camera, by its own name."""
        return {'image': self.image, 'image/compressed': f'{self.image}/compressed',
                'depth': self.depth, 'depth/compressedDepth': f'{self.depth}/compressedDepth',
                'camera_info': self.camera_info}


_OWN_TOPICS = CameraTopics()


def policy(namespace: str = DEFAULT_NAMESPACE, camera: CameraTopics = _OWN_TOPICS) -> str:
    """Return the policy as XML.

    Args:
        namespace: of the nodes.
        camera: its topics.
    Raises:
        ConfigError: one of them is no ROS name.
    """
    for what, name in (('namespace', namespace), *vars(camera).items()):
        check_name(what, name)
    place = '/' + namespace.strip('/')
    lines = ['<policy version="0.2.0">', '  <enclaves>']
    for process, nodes in PROCESSES.items():
        lines += [f'    <enclave path={quoteattr(f"{place}/{process}")}>', '      <profiles>']
        for node in nodes:
            lines += _profile(place, node, camera)
        lines += ['      </profiles>', '    </enclave>']
    return _HEAD + '\n'.join([*lines, '  </enclaves>', '</policy>']) + '\n'


def rules_of(node: str, camera: CameraTopics = _OWN_TOPICS) -> list[Rules]:
    """Return what a node may do: group, permission, kind of name, and the names.

    Args:
        node: one of ours, or PEER.
        camera: topics of the camera.
    """
    names = camera.names()
    topics = [(names.get(topic.name, topic.name), topic) for topic in (*TOPICS, *NODE_TOPICS)]
    if node == PEER:
        own = {topic.name for topic in NODE_TOPICS}
        published = [name for name, topic in topics if not topic.writers and name != '/clock'
                     or topic.name in ('/rosout', '/parameter_events')]
        read = [name for name, topic in topics if topic.writers and topic.name not in own]
        read.append('/clock')
        answered = [f'~/{name}' for name in NODE_SERVICES if 'parameter' in name
                    or name == 'get_type_description']
    else:
        published = [name for name, topic in topics if node in topic.writers]
        read = [name for name, topic in topics if node in topic.readers]
        answered = [f'~/{name}' for name in NODE_SERVICES]
    services = [call for call in CALLS if not call.is_action]
    actions = [call.name for call in CALLS if call.is_action and node in (call.server, PEER)]
    answered += [call.name for call in services if call.server == node]
    called = [call.name for call in services if node in (*call.clients, PEER)]
    rules = [('topics', 'publish', 'topic', published), ('topics', 'subscribe', 'topic', read),
             ('services', 'reply', 'service', answered), ('services', 'request', 'service', called),
             ('actions', 'call' if node == PEER else 'execute', 'action', actions)]
    return [rule for rule in rules if rule[3]]


def _profile(place: str, node: str, camera: CameraTopics) -> Iterable[str]:
    yield f'        <profile ns={quoteattr(place)} node={quoteattr(node)}>'
    for group, permission, kind, names in rules_of(node, camera):
        yield f'          <{group} {permission}="ALLOW">'
        for name in sorted(names):
            yield f'            <{kind}>{escape(name)}</{kind}>'
        yield f'          </{group}>'
    yield '        </profile>'


if __name__ == '__main__':
    sys.stdout.write(policy())

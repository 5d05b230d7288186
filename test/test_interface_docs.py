# SPDX-License-Identifier: Apache-2.0
"""docs/interfaces.md and the SROS 2 policy follow from the table of names and the definitions."""

import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from message_samples import class_of, fill

from samtok_ros.cli.main import main
from samtok_ros.errors import ConfigError
from samtok_ros.interface.docs import command_of, definition, in_namespace, page, quoted, rows_of
from samtok_ros.interface.ros_names import CALLS, NODE_TOPICS, NODES, TOPICS
from samtok_ros.interface.security_policy import PEER, PROCESSES, CameraTopics, policy, rules_of

ROOT = Path(__file__).resolve().parents[1]
POLICY = ROOT / 'config' / 'sros2' / 'policy.xml'


def definitions():
    return [path for kind in ('msg', 'srv', 'action') for path in (ROOT / kind).glob(f'*.{kind}')]


# The page

def test_page_when_compared_then_it_is_what_the_definitions_say():
    text = (ROOT / 'docs' / 'interfaces.md').read_text(encoding='utf-8')
    assert text == page(ROOT), 'run: python -m samtok_ros.interface.docs .'


@pytest.mark.parametrize('path', definitions(), ids=lambda path: path.name)
def test_definition_when_written_then_every_field_is_explained(path):
    text = definition(path)
    body = re.sub(r'#.*', '', path.read_text(encoding='utf-8'))
    names = [line.split()[1].partition('=')[0] for line in body.splitlines()
             if line.strip() and line.strip() != '---']
    for name in names:
        assert re.search(rf'`{name}[` ]', text), name
    rows = [line.strip('| ').split(' | ') for line in text.splitlines() if line.startswith('| `')]
    assert all(len(row) == 3 and row[2] for row in rows)


def test_rows_when_fields_share_a_comment_then_they_share_a_row():
    rows = list(rows_of('# Of all.\n\n# Size in pixels.\nuint32 height\nuint32 width\n\n'
                        '# Flags.\nuint8 ON=1  # it is on\nuint8 OFF=0\n\n# T.\nstring<=9 text\n'))
    assert [(row.names, row.types, row.meaning) for row in rows] == [
        (('height', 'width'), ('uint32', 'uint32'), 'Size in pixels.'),
        (('ON = 1',), ('uint8',), 'it is on'), (('OFF = 0',), ('uint8',), 'Flags.'),
        (('text',), ('string<=9',), 'T.')]


def test_text_when_quoted_then_the_shell_gives_it_back():
    for text in ("{text: 'a <b>'}", '{text: "a"}', '{text: $HOME}', '{text: a!}', '`ls`', 'a\\b'):
        assert shlex.split(quoted(text)) == [text]


# The table of names

@pytest.mark.parametrize('call', CALLS, ids=lambda call: call.name)
def test_command_when_copied_then_its_request_fits_the_definition(call):
    words = shlex.split(command_of(call))
    given = yaml.safe_load(words[-1]) if call.example else {}
    assert given == call.example
    assert words[words.index(call.type) - 1] == f'/samtok/{call.name}'
    kind = class_of(call.type)
    fill((kind.Goal if call.is_action else kind.Request)(), given)


@pytest.mark.parametrize('topic', TOPICS, ids=lambda topic: topic.name)
def test_command_when_copied_then_it_names_the_topic_and_its_message_fits(topic):
    words = shlex.split(in_namespace(topic.command))
    name = topic.name if topic.name.startswith('/') else f'/samtok/{topic.name}'
    assert words[0] == 'ros2'
    assert name in words
    if words[:3] == ['ros2', 'topic', 'pub']:
        assert words[-2] == topic.type
        fill(class_of(topic.type)(), yaml.safe_load(words[-1]))


def test_interfaces_when_listed_then_each_action_and_service_has_a_name():
    defined = {f'samtok_ros/{path.parent.name}/{path.stem}' for path in definitions()
               if path.suffix != '.msg'}
    assert {call.type for call in CALLS if call.type.startswith('samtok_ros')} == defined


def test_viewers_when_read_then_they_show_topics_of_ours():
    known = {f'/samtok/{topic.name}' for topic in TOPICS} | {'/diagnostics'}
    rviz = yaml.safe_load((ROOT / 'config' / 'rviz' / 'samtok.rviz').read_text(encoding='utf-8'))
    displays = {display['Topic']['Value']: display['Topic']
                for display in rviz['Visualization Manager']['Displays']}
    assert set(displays) == {'/samtok/overlay/compressed', '/samtok/target/mask',
                             '/samtok/target/points', '/samtok/markers'}
    for name in ('target/mask', 'target/points', 'markers'):
        assert displays[f'/samtok/{name}']['Durability Policy'] == 'Transient Local'
    layout = (ROOT / 'config' / 'foxglove' / 'samtok.json').read_text(encoding='utf-8')
    tree = yaml.safe_load(layout)
    shown = set(re.findall(r'"(/[\w/]+)"', layout))
    assert shown <= known
    assert shown >= {'/samtok/overlay/compressed', '/samtok/mask_words', '/diagnostics'}
    (goal,) = [panel for name, panel in tree['configById'].items() if name.startswith('Publish!')]
    fill(class_of(goal['datatype'])(), yaml.safe_load(goal['value']))
    placed = set(re.findall(r"'((?:Image|RawMessages|Publish|DiagnosticSummary)!\w+)'",
                            str(tree['layout'])))
    assert placed == set(tree['configById'])


# The policy

def test_policy_when_compared_then_the_file_is_the_one_for_the_defaults(capsys):
    assert POLICY.read_text(encoding='utf-8') == policy(), (
        'run: python -m samtok_ros.interface.security_policy > config/sros2/policy.xml')
    assert main(['policy']) == 0
    assert capsys.readouterr().out == policy()


def test_policy_when_parsed_then_it_has_an_enclave_for_each_process():
    camera = CameraTopics('/cam/image_raw', '/cam/depth', '/cam/info')
    tree = ElementTree.fromstring(policy('left', camera))
    assert (tree.tag, tree.attrib) == ('policy', {'version': '0.2.0'})
    enclaves = {enclave.get('path'): enclave for enclave in tree.find('enclaves')}
    assert set(enclaves) == {f'/left/{process}' for process in PROCESSES}
    for process, nodes in PROCESSES.items():
        profiles = enclaves[f'/left/{process}'].findall('profiles/profile')
        assert [(p.get('ns'), p.get('node')) for p in profiles] == [('/left', n) for n in nodes]
    subscribed = {topic.text for topic in enclaves['/left/grounding'].findall(
        ".//topics[@subscribe='ALLOW']/topic")}
    assert subscribed == {'/clock', '/cam/image_raw', '/cam/image_raw/compressed', 'goal'}
    subscribed = {topic.text for topic in enclaves['/left/lifting'].findall(
        ".//topics[@subscribe='ALLOW']/topic")}
    assert subscribed == {'/clock', '/cam/depth', '/cam/depth/compressedDepth', '/cam/info',
                          'masks'}


@pytest.mark.parametrize('info', ['', '/cam/color/camera_info'])
def test_policy_when_depth_is_named_then_the_calibration_is_that_of_samtok_up(capsys, info):
    given = ['--camera-info', info] if info else []
    assert main(['policy', '--depth', '/cam/depth/image', *given]) == 0
    named = re.findall(r'<topic>([^<]*camera_info)<', capsys.readouterr().out)
    assert set(named) == {info or '/cam/depth/camera_info'}


def test_policy_when_read_then_nothing_is_a_pattern():
    # A star would allow names that are not ours.
    names = [name for node in (*NODES, PEER) for *_, names in rules_of(node) for name in names]
    assert all(re.fullmatch(r'(~/|/)?\w+(/\w+)*', name) for name in names)


def test_peer_when_compared_then_it_may_do_what_the_nodes_answer_to():
    rules = {(group, permission): set(names)
             for group, permission, _, names in rules_of(PEER)}
    of_every_node = {topic.name for topic in NODE_TOPICS}
    assert rules['topics', 'publish'] - of_every_node == {
        'goal', 'image', 'image/compressed', 'depth', 'depth/compressedDepth', 'camera_info'}
    assert rules['topics', 'subscribe'] - of_every_node == {t.name for t in TOPICS if t.writers}
    assert rules['services', 'request'] | rules['actions', 'call'] == {c.name for c in CALLS}


def test_policy_when_a_name_is_wrong_then_it_is_refused(capsys):
    with pytest.raises(ConfigError, match='namespace is no ROS name'):
        policy('a"b')
    assert main(['policy', '--image', '/cam/image/compressed']) == 2
    assert 'leave out /compressed' in capsys.readouterr().err.lower()

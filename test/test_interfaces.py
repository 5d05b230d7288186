# SPDX-License-Identifier: Apache-2.0
"""The interface files: they parse, are bounded and commented, and survive CDR; all without ROS."""
import json
import re
from pathlib import Path

import numpy as np
import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.base import TypesysError

from samtok_ros.lifting.target import LiftStatus

ROOT = Path(__file__).resolve().parents[1]
# rosbags tags the nodes of a parsed field type with these numbers.
BASE, NAME, ARRAY, SEQUENCE = 1, 2, 3, 4
# Names of the parts of a definition, in the order of the separator lines.
PARTS = {'msg': ('',), 'srv': ('_Request', '_Response'),
         'action': ('_Goal', '_Result', '_Feedback')}
FILES = sorted(path for kind in PARTS for path in (ROOT / kind).glob(f'*.{kind}'))


def split_definition(path: Path) -> dict[str, str]:
    """Return the definition text of each message that a file defines, by full type name.

    All are called messages here, since rosbags looks up the types of fields beside their user.
    """
    kind = path.suffix[1:]
    texts = re.split(r'^---$', path.read_text(encoding='utf-8'), flags=re.MULTILINE)
    assert len(texts) == len(PARTS[kind]), f'{path.name}: wrong number of --- lines'
    return {f'samtok_ros/msg/{path.stem}{part}': text
            for part, text in zip(PARTS[kind], texts, strict=True)}


DEFINITIONS = {name: text for path in FILES for name, text in split_definition(path).items()}


def parse_all() -> dict:
    """Return constants and fields of every definition, by type name."""
    types: dict = {}
    for name, text in DEFINITIONS.items():
        types |= get_types_from_msg(text, name)
    return types


TYPES = parse_all()


@pytest.fixture(scope='module')
def typestore():
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(TYPES)
    return store


def fill(store, kind, full: bool):
    """Return a value for one field type: as large as its bounds allow, or empty."""
    tag, content = int(kind[0]), kind[1]
    if tag == NAME:
        return build(store, content, full)
    if tag == BASE:
        name, bound = content
        if name == 'string':
            return 'ä' * (bound // 2) if full else ''
        if name == 'bool':
            return full
        if name.startswith('float'):
            return 0.625 if full else 0.0
        return int(np.iinfo(name).max) if full else 0
    assert tag == SEQUENCE, 'fixed-size arrays have no fast path in Python'
    inner, bound = content
    # Two messages are enough to see the alignment between them; numbers go up to the bound.
    count = (2 if int(inner[0]) == NAME else bound) if full else 0
    if int(inner[0]) == BASE and inner[1][0] != 'string':
        return np.arange(count).astype(inner[1][0])
    return [fill(store, inner, full) for _ in range(count)]


def build(store, name: str, full: bool):
    """Return a message of a type with all fields filled."""
    fields = store.fielddefs[name][1]
    values = {field: fill(store, kind, full) for field, kind in fields}
    return store.types[name](**values)


def assert_same(left, right) -> None:
    """Compare two messages field by field; float32 values used here are exact."""
    if isinstance(left, np.ndarray):
        np.testing.assert_array_equal(left, right)
    elif isinstance(left, list):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    elif hasattr(left, '__dataclass_fields__'):
        for field in left.__dataclass_fields__:
            assert_same(getattr(left, field), getattr(right, field))
    else:
        assert left == right


def unbounded(fields) -> list[str]:
    """Return the names of fields that hold a string or array without a bound."""
    bad = []
    for name, (tag, content) in fields:
        inner, bound = content if int(tag) == SEQUENCE else ((tag, content), 1)
        is_open_string = int(inner[0]) == BASE and inner[1] == ('string', 0)
        if bound == 0 or is_open_string or int(tag) == ARRAY:
            bad.append(name)
    return bad


def test_bound_check_when_field_is_open_then_it_is_found():
    fields = get_types_from_msg('string a\nuint8[] b\nstring[<=2] c\nuint8[3] d\nstring<=3 e\n'
                                'string<=3[<=2] f\n', 'x/msg/X')['x/msg/X'][1]
    assert unbounded(fields) == ['a', 'b', 'c', 'd']


def test_parser_when_field_line_is_broken_then_it_refuses():
    with pytest.raises(TypesysError):
        get_types_from_msg('uint8[<= codes\n', 'x/msg/X')


@pytest.mark.parametrize('name', DEFINITIONS)
def test_definition_when_parsed_then_every_string_and_array_is_bounded(name):
    # Runs of a mask are counted by us: what a type allows, the middleware reserves memory for.
    assert set(unbounded(TYPES[name][1])) <= {'rle'}


@pytest.mark.parametrize('name', [n for n in DEFINITIONS if '_' not in n.split('/')[2]])
def test_message_when_it_has_a_header_then_it_comes_first(name):
    names = [field for field, _ in TYPES[name][1]]
    assert 'header' not in names[1:]


@pytest.mark.parametrize('name', [n for n in DEFINITIONS if n.endswith(('_Response', '_Result'))])
def test_answer_of_a_call_when_parsed_then_success_and_message_come_first(name):
    assert [field for field, _ in TYPES[name][1]][:2] == ['success', 'message']


def test_status_constants_when_compared_then_both_arrays_agree_and_zero_is_harmless():
    words, masks = (TYPES[f'samtok_ros/msg/{name}'][0] for name in ('MaskWords', 'RegionMasks'))
    assert masks == [*words, ('ANSWERED', 'uint8', 0), ('TRACKED', 'uint8', 1)]
    assert words[0] == ('OK', 'uint8', 0)


def test_lift_status_when_compared_with_the_message_then_names_and_numbers_agree():
    constants = {name: value for name, _, value in TYPES['samtok_ros/msg/LiftedTarget'][0]}
    assert constants == {status.name: status.value for status in LiftStatus}


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_interface_file_when_read_then_licence_and_comments_are_there(path):
    text = path.read_text(encoding='utf-8')
    assert text.startswith('# SPDX-License-Identifier: Apache-2.0\n')
    for block in re.split(r'\n\n|^---$', text, flags=re.MULTILINE):
        lines = block.strip().splitlines()
        commented = not lines or lines[0].startswith('#') or all('#' in line for line in lines)
        assert commented, f'{path.name}: say unit, range and default of\n{block}'


@pytest.mark.parametrize('full', [True, False], ids=['full', 'empty'])
@pytest.mark.parametrize('name', DEFINITIONS)
def test_message_when_serialised_and_back_then_it_is_the_same(typestore, name, full):
    message = build(typestore, name, full)
    back = typestore.deserialize_cdr(typestore.serialize_cdr(message, name), name)
    assert_same(message, back)


def test_build_file_when_compared_with_the_folders_then_it_lists_every_interface():
    listed = re.findall(r'"((?:msg|srv|action)/\w+\.\w+)"', (ROOT / 'CMakeLists.txt').read_text())
    assert sorted(listed) == sorted(f'{path.parent.name}/{path.name}' for path in FILES)


def generated(name: str):
    """Return the generated Python class of a type, or skip where the package is not built."""
    stem, _, part = name.split('/')[2].partition('_')
    kind = next(path.parent.name for path in FILES if path.stem == stem)
    package = pytest.importorskip(f'samtok_ros.{kind}', reason='the messages are not built here')
    return getattr(getattr(package, stem), part) if part else getattr(package, stem)


@pytest.mark.parametrize('name', DEFINITIONS)
def test_generated_class_when_built_then_it_has_the_same_fields_and_bytes(typestore, name):
    rclpy_bytes = pytest.importorskip('rclpy.serialization', reason='no ROS here')
    message_class = generated(name)
    assert list(message_class.get_fields_and_field_types()) == [f for f, _ in TYPES[name][1]]
    message = build(typestore, name, full=True)
    cdr = bytes(typestore.serialize_cdr(message, name))
    back = rclpy_bytes.serialize_message(rclpy_bytes.deserialize_message(cdr, message_class))
    assert_same(typestore.deserialize_cdr(back, name), message)


@pytest.mark.parametrize('path', [p for p in FILES if p.suffix == '.msg'], ids=lambda p: p.stem)
def test_type_hash_when_built_then_bags_written_without_ros_carry_the_same(typestore, path):
    index = pytest.importorskip('ament_index_python.packages', reason='no ROS here')
    try:
        share = index.get_package_share_directory('samtok_ros')
    except (LookupError, OSError):
        pytest.skip('the package is not installed here')
    built = json.loads((Path(share) / 'msg' / f'{path.stem}.json').read_text())
    name = f'samtok_ros/msg/{path.stem}'
    hashes = {entry['type_name']: entry['hash_string'] for entry in built['type_hashes']}
    assert typestore.hash_rihs01(name) == hashes[name]

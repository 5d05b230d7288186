# SPDX-License-Identifier: Apache-2.0
"""Settings: dataclass = yaml = README; nothing dead, nothing unknown, everything checked."""

import re
from pathlib import Path

import pytest
import yaml

from samtok_ros.errors import ConfigError
from samtok_ros.settings.fields import (
    build_settings,
    setting_fields,
    settings_values,
    value_text,
)
from samtok_ros.settings.files import REPLAY, config_files, parameters_markdown
from samtok_ros.settings.grounding import GroundingSettings
from samtok_ros.settings.mask_tokenizer import MaskTokenizerSettings
from samtok_ros.settings.nodes import SETTINGS_OF_NODE
from samtok_ros.settings.shared import InputSettings

ROOT = Path(__file__).resolve().parents[1]
NODES = sorted(SETTINGS_OF_NODE)


def flat(tree, prefix=''):
    values = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            values.update(flat(value, f'{prefix}{key}.'))
        else:
            values[f'{prefix}{key}'] = value
    return values


def read_yaml(name, node):
    tree = yaml.safe_load((ROOT / 'config' / name).read_text(encoding='utf-8'))
    return flat(tree[f'/**/{node}']['ros__parameters'])


@pytest.mark.parametrize('name', ['default.yaml', 'replay.yaml'])
def test_yaml_file_when_compared_then_it_is_what_the_settings_say(name):
    text = (ROOT / 'config' / name).read_text(encoding='utf-8')
    assert text == config_files()[name], 'run: python -m samtok_ros.settings.files config'


@pytest.mark.parametrize('node', NODES)
def test_default_yaml_when_read_then_it_gives_the_default_settings(node):
    values = read_yaml('default.yaml', node)
    assert build_settings(SETTINGS_OF_NODE[node], values) == SETTINGS_OF_NODE[node]()
    assert list(values) == [field.name for field in setting_fields(SETTINGS_OF_NODE[node])]


@pytest.mark.parametrize('node', NODES)
def test_replay_yaml_when_read_then_only_the_replay_settings_differ(node):
    values = read_yaml('replay.yaml', node)
    build_settings(SETTINGS_OF_NODE[node], values)
    defaults = settings_values(SETTINGS_OF_NODE[node]())
    different = {name: value for name, value in values.items() if value != defaults[name]}
    assert different == {name: value for name, value in REPLAY.items() if name in defaults}


def test_replay_settings_when_compared_then_each_belongs_to_a_node():
    names = {f.name for c in SETTINGS_OF_NODE.values() for f in setting_fields(c)}
    assert set(REPLAY) <= names


@pytest.mark.parametrize('node', NODES)
def test_field_when_declared_then_it_is_described_and_its_default_is_right(node):
    for field in setting_fields(SETTINGS_OF_NODE[node]):
        assert field.description, field.name
        assert not field.description.endswith('.'), field.name
        numeric = type(field.default) in (int, float)
        assert numeric == (field.minimum is not None), f'{field.name} needs bounds'


def test_field_when_declared_then_the_code_reads_it():
    source = '\n'.join(path.read_text(encoding='utf-8')
                       for folder in ('runtime', 'nodes', 'lifting', 'tracking') for path in
                       (ROOT / 'samtok_ros' / folder).glob('*.py'))
    for settings in SETTINGS_OF_NODE.values():
        for field in setting_fields(settings):
            name = field.name.rpartition('.')[2]
            assert re.search(rf'\.{name}\b', source), f'nothing reads {field.name}'


def test_fields_when_listed_then_they_are_these():
    names = {f.name for c in SETTINGS_OF_NODE.values() for f in setting_fields(c)}
    assert names == {
        'autostart', 'max_rate_hz', 'zoom_below', 'model.name', 'model.backend', 'model.provider',
        'model.device', 'model.dtype', 'model.cuda_graphs', 'model.warm_up', 'model.thinks',
        'input.transport', 'input.reliability', 'input.depth', 'input.every_frame', 'input.queue',
        'input.max_megapixels', 'cache.frames', 'cache.megabytes', 'limits.max_new_tokens',
        'limits.max_masks', 'limits.deadline_s', 'words.wait_s', 'words.queue',
        'track.policy', 'track.max_age_s', 'track.max_colour_change', 'track.max_area_change',
        'track.load', 'target.max_age_s', 'overlay.jpeg_quality',
        'services.time_limit_s',
        'fake.load_s', 'fake.token_s', 'fake.decode_s', 'fake.fail_every',
        'fake.fail_load', 'fake.fail_load_memory', 'fake.prompt_s', 'fake.flood',
        'input.convert_raw_formats',
        'input.max_age_s', 'actions.policy', 'actions.queue', 'actions.result_timeout_s',
        'actions.conversations', 'actions.rounds',
        'wait_s', 'queue', 'withdraw_after_s', 'depth.transport', 'depth.reliability',
        'depth.queue', 'depth.keep_s', 'depth.megabytes', 'depth.max_megapixels',
        'camera.rectified', 'camera.stamp', 'points.erosion_px', 'points.min_depth_m',
        'points.max_depth_m', 'points.jump_m', 'quality.min_points',
        'quality.min_depth_share', 'scene.enabled', 'scene.target_margin_px'}


def test_values_when_taken_and_built_again_then_the_settings_are_the_same():
    settings = build_settings(GroundingSettings, {'max_rate_hz': 2.5, 'limits.max_masks': 3})
    assert settings.max_rate_hz == 2.5
    assert settings.limits.max_masks == 3
    assert build_settings(GroundingSettings, settings_values(settings)) == settings


@pytest.mark.parametrize('values, text', [
    ({'max_rate_hz': 1}, 'max_rate_hz has the wrong type: expected double, got 1 (integer). '
                         'Write 1.0.'),
    ({'input.depth': 1.0}, 'input.depth has the wrong type: expected integer, got 1.0 (double).'),
    ({'autostart': 1}, 'expected true or false, got 1 (integer)'),
    ({'input.depth': True}, 'expected integer, got True (true or false)'),
    ({'limits.max_masks': 65}, 'limits.max_masks is out of range: expected 1 to 64, got 65.'),
    ({'limits.deadline_s': float('nan')}, 'limits.deadline_s is out of range'),
    ({'model.backend': 'onyx'}, "expected torch or onnx or fake, got 'onyx'"),
    ({'model.provider': 'cuda'}, 'Set model.backend to onnx'),
    ({'limits.max_mask': 3}, 'unknown setting limits.max_mask. Perhaps limits.max_masks is meant.'),
    ({'input.every_frame': True}, 'expected input.reliability: reliable, got best_effort'),
    ({'input.every_frame': True, 'input.reliability': 'reliable', 'max_rate_hz': 1.0},
     'max_rate_hz would drop frames'),
])
def test_settings_when_wrong_then_the_error_says_what_to_write(values, text):
    with pytest.raises(ConfigError, match=re.escape(text)):
        build_settings(GroundingSettings, values)


def test_group_when_built_alone_then_it_checks_itself():
    with pytest.raises(ConfigError, match='depth is out of range'):
        InputSettings(depth=0)


def test_table_when_written_then_it_has_a_row_per_setting():
    table = parameters_markdown(setting_fields(MaskTokenizerSettings))
    rows = table.splitlines()[2:]
    assert len(rows) == len(list(setting_fields(MaskTokenizerSettings)))
    assert '| `words.wait_s` | `2.0` s | 0.0 to 600.0 | yes |' in table
    assert all(row.count('|') == 6 for row in rows)


@pytest.mark.parametrize('value, text', [
    (True, 'true'), (1, '1'), (1.0, '1.0'), ('auto', "'auto'")])
def test_value_when_written_as_yaml_then_it_reads_back_the_same(value, text):
    assert value_text(value) == text
    read = yaml.safe_load(text)
    assert read == value
    assert type(read) is type(value)

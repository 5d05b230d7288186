# SPDX-License-Identifier: Apache-2.0
"""Tasks over DDS: each in its own form, answered with a record, refused with a reason."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from harness import START_NS, Scene, image_message
from PIL import Image as PictureFile
from sensor_msgs.msg import RegionOfInterest

from samtok_ros.action import Ask, Ground
from samtok_ros.model_directory import EMBEDDED_MODEL, MODELS_DIR
from samtok_ros.msg import RegionReference
from samtok_ros.srv import AskRegion
from samtok_ros.words.span_parser import SpanParser
from samtok_ros.words.vocabulary import MaskVocabulary

SUCCEEDED = GoalStatus.STATUS_SUCCEEDED
ROOT = Path(__file__).resolve().parents[2]
TABLE, PAGE = ROOT / 'examples' / 'table.jpg', ROOT / 'docs' / 'tasks.md'
CODES = RegionReference(kind=RegionReference.CODES, codes=[1, 2])
POINT = RegionReference(kind=RegionReference.POINT, point_x=20.0, point_y=15.0)
BOX = RegionReference(kind=RegionReference.BOX, box=RegionOfInterest(
    x_offset=16, y_offset=10, width=16, height=10))


def record_fits(result):
    """Check that a record tells of the regions that come along, at the places that it names."""
    record, ids = result.record, [word.id for word in result.words.words]
    for phrase in record.phrases:
        assert record.text[phrase.start:phrase.end] == phrase.text
        assert set(phrase.ids) <= set(ids)
    named = sorted({number for phrase in record.phrases for number in phrase.ids})
    assert named == ids == [mask.id for mask in result.masks.masks]
    assert SpanParser(MaskVocabulary()).parse(record.text).spans == ()
    return record


def test_tasks_when_asked_then_each_answer_comes_as_its_record(world):
    world.start('perception')
    scene = Scene(world)
    peer = world.peer
    ask, ground = peer.action(Ask, 'ask'), peer.action(Ground, 'ground')
    scene.show()

    def answer(**fields):
        status, result = ask(**fields).wait()
        assert (status, result.success) == (SUCCEEDED, True), result.message
        called = peer.call(AskRegion, 'ask_region', **fields)
        assert called.success, called.message
        assert (called.record, called.words) == (result.record, result.words)
        return record_fits(result)

    found = ground(text='two red mugs').wait()[1]
    (phrase,) = record_fits(found).phrases
    assert (phrase.text, list(phrase.ids)) == ('two red mugs', [1, 2])
    assert ground(text='nothing').wait()[1].record.text == 'No target.'
    captions = [answer(task=f'{kind}_caption') for kind in ('brief', 'detailed')]
    assert [[len(p.ids) for p in record.phrases] for record in captions] == [[1, 1]] * 2
    assert answer(task='categories', items=['mug', 'cone']).text == 'mug, cone'
    (relation,) = answer(task='scene_graph').relations
    assert (relation.predicate, relation.subject_id, relation.object_id) == ('beside', 1, 2)
    graph = {'task': 'scene_graph', 'items': ['mug'], 'predicates': ['on']}
    assert len(answer(**graph).relations) == len(answer(**graph, regions=[BOX]).relations) == 1
    options = {'task': 'multiple_choice', 'items': ['red', 'blue', 'green']}
    letter = answer(text='What colour is <region:1>?', regions=[POINT], **options).choice
    assert letter in ('A', 'B', 'C')
    assert answer(task='region_caption', regions=[CODES]).text
    assert answer(task='relation', regions=[BOX, CODES]).unparsed == []
    damaged = answer(text='Which one malformed thing?')
    assert damaged.unparsed == ['<|mt_start|><|mt_0007|><|mt_end|>']
    assert len(damaged.phrases) == 1


REFUSED = [
    ({'task': 'poem'}, 'unknown task: expected region_caption, relation, multiple_choice, '),
    ({'task': 'region_caption'}, 'task region_caption does not take 0 regions: expected 1'),
    ({'task': 'relation', 'regions': [CODES]}, 'task relation does not take 1 regions: expected 2'),
    ({'task': 'brief_caption', 'text': 'hello'}, 'task brief_caption takes no text'),
    ({'task': 'brief_caption', 'items': ['a']}, 'does not take 1 items: expected none'),
    ({'task': 'multiple_choice', 'items': ['a', 'b']}, 'task multiple_choice needs text'),
    ({'task': 'categories', 'items': ['a\nb']}, 'line break or control character'),
    ({'task': 'categories', 'items': ['\N{REPLACEMENT CHARACTER}']}, 'items are not valid UTF-8'),
    ({'task': 'categories', 'items': ['a'], 'predicates': ['on']}, 'takes no predicates'),
    ({'text': 'What is it?', 'items': ['a']}, 'a question without a task takes no items'),
    ({}, 'question is empty'),
]


def test_task_when_it_does_not_take_what_was_given_then_refused_and_told_why(world):
    world.start('perception')
    scene = Scene(world)
    peer = world.peer
    scene.show()
    peer.value('grounding', 'inference', 'frames_in', lambda count: count == '1')
    ask = peer.action(Ask, 'ask')
    for fields, text in REFUSED:
        called = peer.call(AskRegion, 'ask_region', **fields)
        assert (called.success, text in called.message) == (False, True), called.message
        assert not ask(**fields).accepted
        refusal = f'goal of ask is rejected: {called.message}'
        peer.value('grounding', 'requests', 'last_refusal',
                   lambda shown, refusal=refusal: refusal in shown)
    assert ask(task='brief_caption').wait()[1].success


def test_tasks_when_the_masks_are_in_another_process_then_the_same_records(world):
    for program in ('grounding', 'mask_tokenizer'):
        world.start(program)
    scene = Scene(world, split=True)
    ask = world.peer.action(Ask, 'ask')
    scene.show()
    for fields in ({'task': 'scene_graph'}, {'task': 'brief_caption'},
                   {'task': 'region_caption', 'regions': [BOX]}):
        status, result = ask(**fields).wait()
        assert status == SUCCEEDED, result.message
        assert record_fits(result).text


def fill(message, fields):
    """Set fields as `ros2 service call` does; lists of messages are lists of regions here."""
    for name, value in fields.items():
        if isinstance(value, dict):
            fill(getattr(message, name), value)
        elif isinstance(value, list) and isinstance(value[0], dict):
            setattr(message, name, [fill(RegionReference(), item) for item in value])
        else:
            setattr(message, name, value)
    return message


def test_page_of_tasks_when_its_ros_commands_are_sent_then_the_records_printed_there(world):
    if not (MODELS_DIR / EMBEDDED_MODEL / 'config.json').is_file():
        pytest.skip('the embedded model is not in the package')
    yaml = pytest.importorskip('yaml')
    examples = re.findall(
        r'^Record[^\n]*\n\n```json\n(.*?)^```$.*?^```bash\nros2 \w+ \w+ /samtok/(\w+) \S+ "(.*?)"\n'
        r'```$', PAGE.read_text(encoding='utf-8'), re.MULTILINE | re.DOTALL)
    # Reliable: a best-effort image of this size is easily lost on a busy machine.
    world.start('perception', {'model.name': EMBEDDED_MODEL, 'model.device': 'cpu',
                               'autostart': True, 'input.reliability': 'reliable'})
    scene = Scene(world)
    ground = world.peer.action(Ground, 'ground')
    image_rgb = np.asarray(PictureFile.open(TABLE).convert('RGB'))
    scene.images.publish(image_message(START_NS, image_rgb))
    world.peer.value('grounding', 'inference', 'frames_in', lambda count: count == '1')
    assert len(examples) == 12
    for written, name, fields in examples:
        message = {'ground': Ground.Goal, 'ask_region': AskRegion.Request}[name]()
        fill(message, yaml.safe_load(fields))
        asked = {field: getattr(message, field) for field in message.get_fields_and_field_types()}
        result = (ground(**asked).wait()[1] if name == 'ground'
                  else world.peer.call(AskRegion, name, **asked))
        assert result.success, result.message
        record, expected = record_fits(result), json.loads(written)
        assert record.text == expected['text'], fields
        assert record.choice == expected.get('choice', '')
        assert [[p.text, p.start, p.end, list(p.ids)] for p in record.phrases] == [
            list(phrase.values()) for phrase in expected.get('phrases', [])]
        assert [[r.subject, r.subject_id, r.predicate, r.object, r.object_id]
                for r in record.relations] == [
            list(relation.values()) for relation in expected.get('relations', [])]

# SPDX-License-Identifier: Apache-2.0
"""One call per task, conversations and zooming in: what the model reads, and what comes back."""

import json
import re

import numpy as np
import pytest

from samtok_ros.cli.main import main
from samtok_ros.errors import ConfigError
from samtok_ros.image.zoom import ZoomRule, zoomed
from samtok_ros.language.generation import GenerationLimits
from samtok_ros.language.instructions import RegionReference
from samtok_ros.language.prompts import PROMPTS
from samtok_ros.language.tasks import TASKS, TaskQuestion
from samtok_ros.pipeline import Pipeline
from samtok_ros.regions import BoxPrompt, PointPrompt, Region
from samtok_ros.words.answer_record import Phrase, Relation

ONE = '<|mt_start|><|mt_0001|><|mt_0258|><|mt_end|>'
TWO = '<|mt_start|><|mt_0003|><|mt_0260|><|mt_end|>'
A, B = RegionReference((1, 2)), RegionReference((3, 4))
LIST = (f'```json\n[{{"mask_2d": "{ONE}", "label": "mug"}},\n'
        f'{{"mask_2d": "{TWO}", "label": "cone"}}]\n```')
GRAPH = (f'```json\n[{{"subject": {{"mask_2d": "{ONE}", "label": "mug"}}, "predicate": "on", '
         f'"object": {{"mask_2d": "{TWO}", "label": "cone"}}}}]\n```')


@pytest.fixture(scope='module')
def pipeline(tiny_model_dir):
    return Pipeline.load(str(tiny_model_dir))


@pytest.fixture
def say(pipeline, make_say):
    """Make the model want to say a text; returns all that it has read, one text per question."""
    hooks, asked = [], []

    def hear(module, _, keywords):
        if 'pixel_values' in keywords:
            tokenizer = pipeline.language_model._processor.tokenizer
            asked.append(tokenizer.decode(keywords['input_ids'][0]))

    def speak(text):
        while hooks:
            hooks.pop().remove()
        hooks.append(make_say(pipeline, text))
        hooks.append(pipeline.language_model._model.register_forward_pre_hook(
            hear, with_kwargs=True))
        pipeline.forget()
        return asked

    yield speak
    while hooks:
        hooks.pop().remove()


def instruction_in(asked):
    """Return what the user says in the last prompt, without the frame around it."""
    *_, text = asked[-1].split('<|im_start|>user\n')
    return text.partition('<|vision_end|>')[2].partition('<|im_end|>')[0]


CALLS = [
    (lambda p, i: p.describe_region(i, A), f'Given a detailed description of this region {ONE}.'),
    (lambda p, i: p.relate(i, A, B), f'Describe the relationship between {ONE} and {TWO}.'),
    (lambda p, i: p.choose(i, 'Is <region:1> red?', ['yes', 'no'], [A]),
     f"Question: Is {ONE} red?\nOptions:\nA. yes\nB. no\nAnswer with the correct option's letter "
     'directly.'),
    (lambda p, i: p.find_categories(i, ['cat', 'dog']),
     'Please carefully check the image and detect the following objects: ["cat", "dog"].'),
    (lambda p, i: p.caption(i), PROMPTS['brief_caption'][0]),
    (lambda p, i: p.caption(i, detailed=True), PROMPTS['detailed_caption'][0]),
    (lambda p, i: p.scene_graph(i), PROMPTS['scene_graph'][0]),
    (lambda p, i: p.scene_graph(i, ['cat'], ['on'], [A]), 'CANDIDATE CATEGORIES: \n{cat}\n'
     f'CANDIDATE PREDICATES: \n{{on}}\nGiven masks: {ONE}\n{PROMPTS["scene_graph"][1]}'),
    (lambda p, i: p.ground(i, 'the mug left of <region:1>', regions=[A]),
     f'Please segment the mug left of {ONE} in this image.'),
]


@pytest.mark.parametrize(('call', 'told'), CALLS)
def test_call_when_made_then_the_model_reads_the_published_words(pipeline, say, image_rgb, call,
                                                                 told):
    asked = say('B.')
    answer = call(pipeline, image_rgb)
    assert instruction_in(asked) == told
    assert answer.record.choice == ('B' if 'Options' in told else '')
    assert answer.record.text == 'B.'


def test_answer_when_it_names_regions_then_the_record_points_at_them(pipeline, say, image_rgb):
    say(LIST)
    answer = pipeline.find_categories(image_rgb, ['mug', 'cone'])
    assert answer.record.phrases == (Phrase('mug', 0, 3, (1,)), Phrase('cone', 5, 9, (2,)))
    assert [region.region_id for region in answer.regions] == [1, 2]
    say(GRAPH)
    answer = pipeline.scene_graph(image_rgb)
    assert answer.record.relations == (Relation('mug', 1, 'on', 'cone', 2),)
    assert all(region.mask is not None for region in answer.regions)


def test_region_when_mask_box_or_point_then_the_model_reads_its_words(pipeline, say, image_rgb):
    height, width = image_rgb.shape[:2]
    mask = np.zeros((height, width), np.bool_)
    mask[40:90, 60:120] = True
    for pointer in (mask, BoxPrompt(60, 40, 120, 90), PointPrompt(80.5, 60.5)):
        asked = say('It is red.')
        pipeline.ask(image_rgb, 'What is <region:1>?', [pointer])
        (reference,) = pipeline.references(image_rgb, [pointer])
        words = pipeline.language_model.vocabulary.codes_to_words(reference.codes)
        assert instruction_in(asked) == f'What is {words}?'


def test_conversation_when_it_goes_on_then_earlier_rounds_and_regions_are_known(pipeline, say,
                                                                                image_rgb):
    talk = pipeline.conversation(image_rgb)
    say(LIST)
    first = talk.ground('mugs and cones')
    asked = say('It is red.')
    talk.ask('What colour is <region:2>?')
    assert LIST in asked[-1]
    *_, last = asked[-1].split('<|im_start|>user\n')
    assert last.startswith(f'What colour is {TWO}?')
    asked = say('A.')
    talk.ask(TaskQuestion('multiple_choice', 'Which one is red?', ('<region:2>', 'none')))
    *_, last = asked[-1].split('<|im_start|>user\n')
    assert f'A. {TWO}' in last and ONE not in last
    asked = say('It is next to it.')
    talk.ask(TaskQuestion('relation'), [A, B])
    assert 'It is red.' in asked[-1] and 'Describe the relationship' in asked[-1]
    assert (len(talk.history), talk.regions) == (4, first.regions)
    with pytest.raises(ConfigError, match='goal names <region:3>'):
        talk.ground('left of <region:3>')
    assert len(talk.history) == 4


def test_zoom_when_the_region_is_small_then_it_is_shown_again_with_words_of_its_own(
        pipeline, say, image_rgb):
    mask = np.zeros(image_rgb.shape[:2], np.bool_)
    mask[40:90, 60:120] = True
    words = [pipeline.language_model.vocabulary.codes_to_words(one.codes) for one in
             pipeline.references(image_rgb, [mask])]
    crop = zoomed(image_rgb, mask, ZoomRule(0.3))
    words += [pipeline.language_model.vocabulary.codes_to_words(one.codes) for one in
              pipeline.references(crop.image_rgb, [crop.mask])]
    asked = say('A mug.')
    answer = pipeline.describe_region(image_rgb, mask, ZoomRule(0.3))
    assert answer.record.text == 'A mug.'
    before, behind = re.fullmatch(
        '(.*)<\\|vision_start\\|>(?:<\\|image_pad\\|>)+<\\|vision_end\\|>(.*)',
        instruction_in(asked)).groups()
    assert (before, behind) == (f'Given a detailed description of this region {words[0]}. Zoom in '
                                'with the perspective as ', f', {words[1]}.')
    for zoom in (None, ZoomRule(0.01)):  # never, and only what is smaller than this is
        asked = say('A mug.')
        pipeline.describe_region(image_rgb, mask, zoom)
        assert instruction_in(asked) == f'Given a detailed description of this region {words[0]}.'


@pytest.mark.parametrize('pointer', [A, BoxPrompt(60, 40, 120, 90), PointPrompt(80, 60)])
def test_mask_of_when_region_has_none_then_the_one_it_stands_for(pipeline, image_rgb, pointer):
    mask = pipeline.mask_of(image_rgb, pointer)
    assert (mask.shape, mask.dtype) == (image_rgb.shape[:2], np.bool_)
    assert pipeline.mask_of(image_rgb, mask) is mask
    assert pipeline.mask_of(image_rgb, Region(1, (1, 2), '', 0.0, mask=mask)) is mask


def test_model_when_it_thinks_then_every_question_has_the_published_suffix(pipeline, say,
                                                                           image_rgb):
    asked = say('<think> It is there. </think><answer> No target. </answer>')
    pipeline.language_model.thinks = True
    try:
        answer = pipeline.ground(image_rgb, 'a boat', GenerationLimits(64))
    finally:
        pipeline.language_model.thinks = False
    assert instruction_in(asked) == ('Please segment a boat in this image.'
                                     + PROMPTS['thinking'][0])
    assert (answer.record.text, answer.record.thought) == ('No target.', 'It is there.')


def ask(capsys, picture, model, *arguments):
    status = main(['ask', str(picture), '--model', str(model), *arguments])
    shown = capsys.readouterr()
    return status, shown.out, ' '.join(shown.err.split())


@pytest.fixture
def saying(monkeypatch, pipeline, say):
    monkeypatch.setattr(Pipeline, 'load', lambda *arguments: pipeline)
    return say


def test_ask_when_task_is_given_then_its_words_and_the_record(saying, picture, tiny_model_dir,
                                                              capsys):
    asked = saying(GRAPH)
    status, out, _ = ask(capsys, picture, tiny_model_dir, '--task', 'scene_graph', '--item', 'mug',
                         '--item', 'cone', '--predicate', 'on')
    assert status == 0
    assert instruction_in(asked) == (
        'CANDIDATE CATEGORIES: \n{mug, cone}\nCANDIDATE PREDICATES: \n{on}\n'
        + PROMPTS['scene_graph'][1])
    said, first, second, relation = out.splitlines()
    assert said == 'mug on cone'
    assert (first[:8], second[:9]) == ('1  mug  ', '2  cone  ')
    assert relation == 'relation: mug (1) on cone (2)'
    saying(GRAPH)
    _, out, _ = ask(capsys, picture, tiny_model_dir, '--task', 'scene_graph', '--json')
    record = json.loads(out)['record']
    assert record['relations'] == [{'subject': 'mug', 'subject_id': 1, 'predicate': 'on',
                                    'object': 'cone', 'object_id': 2}]
    assert json.loads(out)['text'] == GRAPH


def test_ask_when_regions_of_all_kinds_are_given_then_in_their_order(saying, pipeline, picture,
                                                                     image_rgb, tiny_model_dir,
                                                                     capsys):
    asked = saying('C')
    status, out, _ = ask(
        capsys, picture, tiny_model_dir, '--point', '80.5,60.5', '--region', f'{ONE}{TWO}',
        '--task', 'multiple_choice', '--box', '60,40,120,90', 'Which is <region:1>?',
        '--item', 'a', '--item', 'b', '--item', 'c')
    assert (status, out) == (0, 'C\nchoice: C\n')
    point, box = (pipeline.language_model.vocabulary.codes_to_words(one.codes) for one in
                  pipeline.references(image_rgb, [PointPrompt(80.5, 60.5),
                                                  BoxPrompt(60, 40, 120, 90)]))
    assert instruction_in(asked).startswith(f'{ONE}{TWO}{box}\nQuestion: Which is {point}?')


@pytest.mark.parametrize(('arguments', 'text'), [
    (['--task', 'poem'], 'unknown task: expected region_caption, relation'),
    (['--task', 'region_caption'], 'does not take 0 regions'),
    (['What?', '--item', 'a'], 'takes no items'),
    (['What?', '--zoom-below', '0.3'], 'only the task region_caption can zoom in'),
    (['--zoom-below', '2', '--task', 'region_caption', '--point', '1,1'], 'zoom is out of range'),
    ([], 'question is empty'),
    (['What?', '--point', '9999,1'], 'point of region 1 is not inside the image'),
])
def test_ask_when_it_makes_no_sense_then_one_line_and_status_2(saying, picture, tiny_model_dir,
                                                               capsys, arguments, text):
    saying('C')
    status, _, error = ask(capsys, picture, tiny_model_dir, *arguments)
    assert (status, text in error) == (2, True), error


def test_tasks_when_listed_in_the_help_then_all_of_them(capsys):
    with pytest.raises(SystemExit):
        main(['ask', '--help'])
    shown = ' '.join(capsys.readouterr().out.split())
    assert all(task in shown for task in TASKS)


def test_encode_when_box_and_point_are_given_then_a_line_of_words_each(pipeline, picture, image_rgb,
                                                                       tiny_model_dir, capsys):
    assert main(['encode', str(picture), '--point', '80.5,60.5', '--box', '60,40,120,90',
                 '--model', str(tiny_model_dir)]) == 0
    expected = [pipeline.language_model.vocabulary.codes_to_words(one.codes) for one in
                pipeline.references(image_rgb, [PointPrompt(80.5, 60.5),
                                                BoxPrompt(60, 40, 120, 90)])]
    assert capsys.readouterr().out.splitlines() == expected
    assert main(['encode', str(picture), '--model', str(tiny_model_dir)]) == 2
    assert 'there is nothing to encode' in capsys.readouterr().err

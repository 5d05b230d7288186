# SPDX-License-Identifier: Apache-2.0
"""Every question is true of its scene, checked by a resolver that reads only the words."""

import json
import re

import numpy as np
import pytest

from samtok_ros.language.prompts import PROMPTS
from samtok_ros.training import unknown_things
from samtok_ros.training.descriptors import (
    COLOUR_WORDS,
    SHAPE_PLURALS,
    SIZE_WORDS,
    SUPERLATIVES,
)
from samtok_ros.training.imagined_scenes import ImaginedObject, ImaginedScene, imagined_scene
from samtok_ros.training.questions import FAMILIES, corpus, draw_question, sample_questions
from samtok_ros.training.scene_tasks import TASKS
from samtok_ros.training.texts import spans_in, write
from samtok_ros.words.answers import parse_mask_list
from samtok_ros.words.vocabulary import MaskVocabulary

NOUNS = {'boxes': 'box', 'balls': 'ball', 'cylinders': 'cylinder', 'cones': 'cone', 'mugs': 'mug',
         'bowls': 'bowl', 'bottles': 'bottle', 'rings': 'ring', 'objects': 'object'}
SHAPES = set(NOUNS.values()) - {'object'}
COLOURS = {'red', 'green', 'blue', 'yellow', 'orange', 'purple', 'white', 'black'}
RELATION = re.compile(r'^(.*?) (?:to the )?(left of|right of|in front of|behind) the (.*)$')


def _alike(words, things):
    """Things that all words of a plain noun phrase are true of."""
    found = list(things)
    for word in words.split():
        word = NOUNS.get(word, word)
        if word == 'object' or word == 'all':
            continue
        field = 'shape' if word in SHAPES else 'colour' if word in COLOURS else 'size'
        found = [thing for thing in found if getattr(thing, field) == word]
    return found


def _resolve(phrase, things):
    """Object ids that a phrase names, without any margin."""
    match = RELATION.match(phrase)
    if match:
        anchors = _alike(match[3], things)
        if not anchors:
            return []
        assert len(anchors) == 1, phrase
        x, depth = anchors[0].centre_xy[0], anchors[0].depth_m
        keep = {'left of': lambda t: t.centre_xy[0] < x, 'right of': lambda t: t.centre_xy[0] > x,
                'in front of': lambda t: t.depth_m < depth, 'behind': lambda t: t.depth_m > depth}
        found = [t for t in _alike(match[1], things) if t is not anchors[0]]
        return [t.object_id for t in found if keep[match[2]](t)]
    first, _, rest = phrase.partition(' ')
    orders = {'leftmost': lambda t: t.centre_xy[0], 'rightmost': lambda t: -t.centre_xy[0],
              'nearest': lambda t: t.depth_m, 'farthest': lambda t: -t.depth_m}
    if first in orders:
        found = _alike(rest, things)
        return [min(found, key=orders[first]).object_id] if found else []
    return [thing.object_id for thing in _alike(phrase, things)]


def _shaken(scene, rng):
    """Move everything by less than half a margin: no answer may change."""
    return ImaginedScene(tuple(
        ImaginedObject(t.object_id, t.shape, t.colour, t.size,
                       (t.centre_xy[0] + rng.uniform(-0.029, 0.029), t.centre_xy[1]),
                       t.depth_m + rng.uniform(-0.024, 0.024)) for t in scene.objects))


@pytest.mark.parametrize('family', ['single', 'several', 'none'])
def test_draw_question_when_resolved_independently_then_same_objects(family):
    for seed in range(400):
        rng = np.random.default_rng(seed)
        scene = imagined_scene(rng)
        question = draw_question(scene, rng, family)
        for things in (scene.objects, _shaken(scene, rng).objects):
            assert sorted(_resolve(question.phrase, things)) == sorted(question.targets), question
        if family == 'none':
            assert question.targets == ()
        elif question.kind != 'several':
            assert len(question.targets) == 1


def test_draw_question_when_about_a_region_then_reply_is_true():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        scene = imagined_scene(rng)
        question = draw_question(scene, rng, 'region')
        thing = next(t for t in scene.objects if t.object_id == question.regions[0])
        words = write(question.reply, {}).removeprefix('It is ').rstrip('.')
        words = re.sub(r'^an? ', '', words)
        assert _alike(words, [thing]) == [thing]
        assert ('colour' in question.kind) == (words == thing.colour)


def test_draw_question_when_several_then_ordered_by_box_centre():
    things = tuple(ImaginedObject(number, 'mug', 'red', 'small', (x, 0.5), 0.5,
                                  (x - 0.05, 0.4, x + 0.05, 0.6))
                   for number, x in ((1, 0.8), (2, 0.2), (3, 0.5)))
    question = draw_question(ImaginedScene(things), np.random.default_rng(0), 'several')
    assert question.targets == (2, 3, 1)


def test_sample_questions_when_same_seed_then_same_and_in_the_mix():
    scene = imagined_scene(np.random.default_rng(5))
    questions = sample_questions(scene, 3, 400)
    assert questions == sample_questions(scene, 3, 400)
    shares = {family: sum(q.family == family for q in questions) / 400 for family in FAMILIES}
    assert 0.15 < shares['none'] < 0.3 and 0.15 < shares['region'] < 0.3


def test_question_when_written_then_published_prompts_and_layout():
    vocabulary = MaskVocabulary()
    prompts = {re.escape(p).replace(r'\{phrase\}', '.*') for p in PROMPTS['referring']}
    plain = 0
    for seed in range(100):
        scene = imagined_scene(np.random.default_rng(seed))
        codes = {t.object_id: (t.object_id, 7) for t in scene.objects}
        for question in sample_questions(scene, seed, 4):
            answer = question.answer(codes, vocabulary)
            if question.family == 'region':
                assert '<|mt_start|>' in question.filled_instruction(codes, vocabulary)
                continue
            assert any(re.fullmatch(p, write(question.instruction, {})) for p in prompts)
            plain += write(question.instruction, {}).startswith('Please segment')
            if question.targets:
                items = parse_mask_list(answer, vocabulary)
                assert [item.codes[0] for item in items] == list(question.targets)
                assert {item.label for item in items} == {question.phrase}
            else:
                assert answer == 'No target.'
    assert plain > 150


def test_corpus_when_made_then_holds_every_kind_of_answer():
    text = '\n'.join(corpus(60))
    for piece in ('No target.', '"mask_2d"', 'It is an orange', 'leftmost', 'in front of the'):
        assert piece in text


@pytest.mark.parametrize('family', tuple(TASKS))
def test_draw_question_when_a_task_then_every_statement_is_true_of_the_scene(family):
    drawn = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        scene = imagined_scene(rng)
        question = draw_question(scene, rng, family)
        if question.family != family:
            continue  # the scene has nothing for this task
        drawn += 1
        things = {thing.object_id: thing for thing in scene.objects}
        names = {number: f'[{number}]' for number in things}
        _CHECKS[family](question, things, write(question.instruction, names),
                        write(question.reply, names))
    assert drawn > 50


def _is_true(relation, first, second):
    x, depth = (np.sign(a - b) for a, b in ((first.centre_xy[0], second.centre_xy[0]),
                                           (first.depth_m, second.depth_m)))
    return {'left of': x < 0, 'right of': x > 0, 'in front of': depth < 0,
            'behind': depth > 0}[relation]


def _check_caption(question, things, asked, said):
    found = re.fullmatch(r'A (\w+ \w+ \w+)(?:, ([a-z ]+?) the (.*))?\.', said)
    thing = things[question.regions[0]]
    assert _alike(found[1], [thing]) and f'[{thing.object_id}]' in asked
    if found[2]:
        anchor, = _alike(found[3], things.values())
        assert _is_true(found[2], thing, anchor)


def _check_relation(question, things, asked, said):
    first, second = (things[number] for number in question.regions)
    found = re.fullmatch(r'The (\w+ \w+) is ([a-z ]+?) the (\w+ \w+)\.', said)
    assert _alike(found[1], [first]) and _alike(found[3], [second])
    assert _is_true(found[2], first, second)


def _check_choice(question, things, asked, said):
    options = dict(line.split('. ') for line in asked.splitlines()[2:-1])
    assert len(options) in (2, 4) and len(set(options.values())) == len(options)
    regions = [things[number] for number in question.regions]
    if len(regions) == 2:
        right = [letter for letter, option in options.items() if _is_true(option, *regions)]
    else:
        right = [letter for letter, option in options.items() if _alike(option, regions)]
    assert right == [said]


def _check_relative(question, things, asked, said):
    found = re.search(r'segment the (.*?) (left of|right of|in front of|behind) \[(\d+)\]', asked)
    anchor = things[int(found[3])]
    fitting = [number for number, thing in things.items() if thing is not anchor
               and _alike(found[1], [thing]) and _is_true(found[2], thing, anchor)]
    assert fitting == list(question.targets)
    assert (said == 'No target.') == (not fitting)


def _check_rounds(question, things, asked, said):
    (earlier_asked, earlier_said), = question.earlier
    anchor, = spans_in(earlier_said)
    assert question.regions == (anchor,)
    phrase = re.fullmatch('Please segment the (.*) in this image.', write(earlier_asked, {}))[1]
    assert _resolve(phrase, tuple(things.values())) == [anchor]
    if question.kind.endswith('after a round'):
        words = said.removeprefix('It is ').rstrip('.').removeprefix('an ').removeprefix('a ')
        assert _alike(words, [things[anchor]])
    else:
        _check_relative(question, things, asked, said)


def _check_categories(question, things, asked, said):
    wanted = json.loads(asked[asked.index('['):-1])
    assert sorted(question.targets) == sorted(
        number for number, thing in things.items() if thing.shape in wanted)
    labels = re.findall(r'"mask_2d": "\[(\d+)\]", "label": "(\w+)"', said)
    assert all(things[int(number)].shape == label for number, label in labels)


def _check_grounded_caption(question, things, asked, said):
    phrases = re.findall(
        r'<\|object_ref_start\|> an? ([\w ]+) <\|object_ref_end\|> \[(\d+)\]', said)
    assert sorted(int(number) for _, number in phrases) == sorted(things)
    assert all(_alike(words, [things[int(number)]]) for words, number in phrases)


def _check_scene_graph(question, things, asked, said):
    triplets = json.loads(said.removeprefix('```json\n').removesuffix('\n```'))
    assert 1 <= len(triplets) <= 3
    for triplet in triplets:
        ends = [things[int(triplet[end]['mask_2d'][1:-1])] for end in ('subject', 'object')]
        assert all(_alike(triplet[end]['label'], [thing])
                   for end, thing in zip(('subject', 'object'), ends, strict=True))
        assert _is_true(triplet['predicate'], *ends)


_CHECKS = {'caption': _check_caption, 'relation': _check_relation, 'choice': _check_choice,
           'relative': _check_relative, 'rounds': _check_rounds, 'categories': _check_categories,
           'grounded caption': _check_grounded_caption, 'scene graph': _check_scene_graph}


def test_unknown_goal_when_drawn_then_one_word_is_of_no_table_and_the_rest_is():
    known = {*SHAPE_PLURALS, *COLOUR_WORDS, *SIZE_WORDS, *SUPERLATIVES, 'to', 'the', 'of', 'in',
             'left', 'right', 'front', 'behind'}
    ours = {*unknown_things.NOUNS, *unknown_things.HELD_OUT_NOUNS}
    assert not ours & {*known, *SHAPE_PLURALS.values(), 'object'}
    assert not {*unknown_things.NOUNS} & {*unknown_things.HELD_OUT_NOUNS}
    things = imagined_scene(np.random.default_rng(1)).objects
    drawn = [unknown_things.unknown_goal(things, np.random.default_rng(seed))
             for seed in range(300)]
    strange = [[word for word in goal.phrase.split() if word not in known] for goal in drawn]
    assert all(len(words) == 1 for words in strange)
    made_up = {word for word, in strange} - {*unknown_things.NOUNS}
    assert len(made_up) > 90 and not made_up & {*unknown_things.HELD_OUT_NOUNS}
    assert all(goal.targets == () for goal in drawn)
    rng = np.random.default_rng(0)
    held_out = unknown_things.unknown_goal(things, rng, unknown_things.HELD_OUT_NOUNS)
    assert {*held_out.phrase.split()} & {*unknown_things.HELD_OUT_NOUNS}


def test_corpus_when_strange_words_are_asked_for_then_it_stays_as_it_is():
    """Other texts would give another text tokenizer, and a model could not go on from its start."""
    words = {word for text in corpus(200) for word in text.replace('"', ' ').split()}
    assert not words & {*unknown_things.NOUNS, *unknown_things.HELD_OUT_NOUNS}

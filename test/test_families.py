# SPDX-License-Identifier: Apache-2.0
"""Every family in its published file layout: loaded, told, answering as transformers does."""

import json
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from tiny_checkpoints import LAYOUTS, write_checkpoint
from transformers import AutoModelForImageTextToText, AutoProcessor

from samtok_ros.errors import CheckpointError
from samtok_ros.language.families import PerceptionFamily, PlacedImage, QwenFamily
from samtok_ros.language.generation import GenerationLimits, SpanClosed
from samtok_ros.language.instructions import Picture, RegionReference, Round
from samtok_ros.language.reading import Reading
from samtok_ros.language.spoken_regions import spoken_answer
from samtok_ros.language.vlm import VisionLanguageModel
from samtok_ros.words.answers import is_no_target, read_answer
from samtok_ros.words.logits_processor import GrammarLogitsProcessor
from samtok_ros.words.span_grammar import SpanGrammar
from samtok_ros.words.vocabulary import MaskTokenIds, MaskVocabulary

GOAL = 'Please segment the red mug in this image.'
SPAN = '<|mt_start|><|mt_0001|><|mt_0258|><|mt_end|>'
OTHER = '<|mt_start|><|mt_0003|><|mt_0260|><|mt_end|>'
LIMITS = GenerationLimits(20)
EVERY_FAMILY = [(family, tied) for family in LAYOUTS for tied in (True, False)]


@pytest.fixture(scope='module', params=EVERY_FAMILY, ids=lambda p: f'{p[0]}-{"tied"[:4 * p[1]]}')
def model_dir(request, tmp_path_factory):
    family, tied = request.param
    return write_checkpoint(tmp_path_factory.mktemp('published') / family, family, tied=tied)


@pytest.fixture(scope='module')
def family_name(model_dir):
    return json.loads((model_dir / 'config.json').read_text())['model_type']


@pytest.fixture(scope='module')
def vlm(model_dir):
    return VisionLanguageModel.load(model_dir)


@pytest.fixture(scope='module')
def reference(model_dir):
    """Model and processor loaded and used as the scripts of the published models do it."""
    processor = AutoProcessor.from_pretrained(model_dir, local_files_only=True)
    if hasattr(processor.image_processor, 'max_num_tiles'):
        processor.image_processor.max_num_tiles = 8
    model = AutoModelForImageTextToText.from_pretrained(model_dir, dtype=torch.float32)
    return model, processor


@contextmanager
def leaning(model, token_id, by):
    """Make a model more inclined to a token."""
    def lean(module, args, output):
        return output + by * torch.nn.functional.one_hot(torch.tensor(token_id), output.shape[-1])

    hook = model.lm_head.register_forward_hook(lean)
    try:
        yield
    finally:
        hook.remove()


def turn(role, *parts):
    kinds = {str: 'text', np.ndarray: 'image'}
    return {'role': role, 'content': [{'type': kinds[type(p)], kinds[type(p)]: p} for p in parts]}


def templated(reference, turns):
    return reference[1].apply_chat_template(turns, tokenize=True, add_generation_prompt=True,
                                            return_dict=True, return_tensors='pt')


def run(vlm, image, instruction=GOAL, limits=LIMITS, **more):
    """Return the events of an answer, and the ids that were read: prompt and answer."""
    events = list(vlm.generate(image, instruction, limits, image_key='image', **more))
    return events, vlm._kept.peek('image').token_ids


@pytest.fixture(autouse=True)
def clean(vlm):
    vlm.forget()


def test_load_when_published_layout_then_words_are_one_range_and_not_special(vlm):
    text_tokenizer = vlm._processor.tokenizer
    ids = vlm.token_ids
    assert ids == MaskTokenIds(ids.start_id, ids.start_id + 513, (
        range(ids.start_id + 1, ids.start_id + 257), range(ids.start_id + 257, ids.end_id)))
    assert text_tokenizer.convert_ids_to_tokens([ids.start_id, ids.start_id + 1, ids.end_id]) == [
        '<|mt_start|>', '<|mt_0000|>', '<|mt_end|>']
    assert text_tokenizer.decode(ids.codes_to_ids((1, 2)), skip_special_tokens=True) == SPAN


def test_load_when_tied_or_not_then_head_is_the_files(vlm, model_dir):
    config = json.loads((model_dir / 'config.json').read_text())
    head = vlm._model.lm_head.weight
    shared = head.data_ptr() == vlm._model.get_input_embeddings().weight.data_ptr()
    assert shared == config['tie_word_embeddings']
    assert len(head) == vlm.token_ids.end_id + 1


def test_load_when_words_are_in_another_order_then_checkpoint_error(family_name, tmp_path):
    directory = write_checkpoint(tmp_path / 'model', family_name, tied=True)
    for name in ('tokenizer.json', 'tokenizer_config.json', 'added_tokens.json'):
        text = (directory / name).read_text()
        swapped = text.replace('mt_0007|', 'mt_x|').replace('mt_0300|', 'mt_0007|')
        (directory / name).write_text(swapped.replace('mt_x|', 'mt_0300|'))
    with pytest.raises(CheckpointError, match='not consecutive.*<.mt_0007'):
        VisionLanguageModel.load(directory)


def test_load_when_base_model_then_missing_words_named(family_name, tmp_path):
    directory = write_checkpoint(tmp_path / 'base', family_name, tied=True, with_words=False)
    with pytest.raises(CheckpointError, match='lacks mask words.*<.mt_start'):
        VisionLanguageModel.load(directory)


@pytest.mark.parametrize('lean', [0.0, 12.0])
@pytest.mark.parametrize('size_hw', [(240, 320), (90, 300)])
def test_generate_when_greedy_then_the_ids_of_transformers(
        vlm, reference, image_rgb, lean, size_hw):
    model, _ = reference
    image = image_rgb[:size_hw[0], :size_hw[1]]
    inputs = templated(reference, [turn('user', image, GOAL)])
    grammar = GrammarLogitsProcessor(SpanGrammar(vlm.token_ids))
    with leaning(model, vlm.token_ids.start_id, lean):
        expected = model.generate(**inputs, max_new_tokens=20, do_sample=False,
                                  logits_processor=[grammar])[0].tolist()
    if expected[-1] in vlm._stop_ids:
        expected.pop()  # written, but not part of the answer
    with leaning(vlm._model, vlm.token_ids.start_id, lean):
        events, ids = run(vlm, image, limits=GenerationLimits(23))  # the last three may be unread
    assert list(ids[:len(expected)]) == expected
    assert any(isinstance(event, SpanClosed) for event in events) or not lean


def test_generate_when_several_rounds_then_the_ids_of_the_chat_template(vlm, reference, image_rgb):
    answer = f'```json\n[{{"mask_2d": "{SPAN}", "label": "mug"}}]\n```'
    rounds = [Round((GOAL,), answer), Round(('Is it red?',), 'Yes.')]
    _, ids = run(vlm, image_rgb, ('What is ', RegionReference((1, 2)), '?'), history=rounds)
    inputs = templated(reference, [
        turn('user', image_rgb, GOAL), turn('assistant', answer), turn('user', 'Is it red?'),
        turn('assistant', 'Yes.'), turn('user', f'What is {SPAN}?')])
    prompt = inputs['input_ids'][0].tolist()
    assert list(ids[:len(prompt)]) == prompt


@pytest.mark.parametrize('marker', ['end_of_text', 'end_of_turn'])
def test_generate_when_model_ends_its_turn_then_stop(vlm, family_name, image_rgb, marker):
    marker = getattr(LAYOUTS[family_name], marker)
    with leaning(vlm._model, vlm._processor.tokenizer.convert_tokens_to_ids(marker), 1000):
        events, _ = run(vlm, image_rgb)
    assert (events[-1].text, events[-1].reason) == ('', 'stop')


def test_generate_when_files_name_no_end_of_turn_then_its_marker_stops_all_the_same(
        family_name, image_rgb, tmp_path):
    layout = LAYOUTS[family_name]
    directory = write_checkpoint(tmp_path / 'model', family_name, tied=True)
    (directory / 'generation_config.json').write_text('{}')
    for name in ('tokenizer_config.json', 'special_tokens_map.json'):
        settings = json.loads((directory / name).read_text())
        settings['eos_token'] = layout.end_of_text
        (directory / name).write_text(json.dumps(settings))
    vlm = VisionLanguageModel.load(directory)
    token_id = vlm._processor.tokenizer.convert_tokens_to_ids(layout.end_of_turn)
    with leaning(vlm._model, token_id, 1000):
        events, _ = run(vlm, image_rgb)
    assert (events[-1].text, events[-1].reason) == ('', 'stop')


def test_look_when_perception_then_thumbnail_and_at_most_eight_tiles(vlm, image_rgb):
    image = vlm._family.look(image_rgb)
    if isinstance(vlm._family, PerceptionFamily):
        assert image.tensors['pixel_values'].shape == (1, 5, 3, 56, 56)  # two by two
        assert (image.visual_tokens, image.grid_hw) == (5 * 4, (10, 2))
    else:
        assert isinstance(vlm._family, QwenFamily)
        assert image.tensors['image_grid_thw'].tolist() == [
            [1, 2 * image.grid_hw[0], 2 * image.grid_hw[1]]]


def test_positions_when_qwen_then_those_of_the_model(vlm, image_rgb):
    if isinstance(vlm._family, QwenFamily):
        image = vlm._family.look(image_rgb)
        ids = torch.tensor([vlm._prompts.build((GOAL,), image.visual_tokens)])
        own, _ = vlm._model.model.get_rope_index(
            ids, (ids == vlm._processor.image_token_id).int(), image.tensors['image_grid_thw'])
        mine = vlm._family.positions([PlacedImage(vlm._prompts.image_at, image)], ids.shape[1])
        assert torch.equal(own, mine)


def test_picture_in_a_text_when_read_then_as_the_model_reads_two_images(vlm, image_rgb):
    crop = image_rgb[10:40, 8:60]
    images = [vlm._family.look(image_rgb), vlm._family.look(crop)]
    lengths = [one.visual_tokens for one in images]
    parts = ('Zoom in with ', Picture(crop), ', please.')
    ids = vlm._prompts.build(parts, lengths[0], (), lengths[1:])
    image_id = vlm._processor.image_token_id
    assert ids.count(image_id) == sum(lengths)
    assert ids[:-1] != ids and 'PLACE' not in vlm._processor.tokenizer.decode(ids)
    places = vlm._prompts.places_of(ids, lengths)
    assert places[0] == vlm._prompts.image_at and places[1] >= places[0] + lengths[0]
    for place, length in zip(places, lengths, strict=True):
        assert set(ids[place:place + length]) == {image_id}
    placed = [PlacedImage(*pair) for pair in zip(places, images, strict=True)]
    positions = vlm._family.positions(placed, len(ids))
    if isinstance(vlm._family, QwenFamily):
        before, behind = ids[places[1] - 1], ids[places[1] + lengths[1]]
        assert vlm._processor.tokenizer.decode([before, behind]) == (
            '<|vision_start|><|vision_end|>')
        own, _ = vlm._model.model.get_rope_index(
            torch.tensor([ids]), (torch.tensor([ids]) == image_id).int(),
            torch.cat([one.tensors['image_grid_thw'] for one in images]))
        assert torch.equal(own, positions)


def test_answer_when_the_picture_changes_then_other_scores_and_nothing_is_kept(vlm, image_rgb):
    def scores_with(picture):
        images = [vlm._family.look(image_rgb), vlm._family.look(picture)]
        lengths = [one.visual_tokens for one in images]
        ids = vlm._prompts.build(('See ', Picture(picture)), lengths[0], (), lengths[1:])
        reading = Reading(vlm._model, vlm._family, vlm._prompts.image_at, vlm._layers)
        placed = [PlacedImage(at, one) for at, one in zip(
            vlm._prompts.places_of(ids, lengths), images, strict=True)]
        with torch.inference_mode():
            scores = reading.read_prompt(ids, images[0], further=placed[1:])
        assert reading.kept is None
        return scores

    first = scores_with(image_rgb[10:40, 8:60])
    assert torch.allclose(first, scores_with(image_rgb[10:40, 8:60].copy()))
    assert not torch.allclose(first, scores_with(255 - image_rgb[10:40, 8:60]), atol=1e-5)
    limits = GenerationLimits(max_new_tokens=3)
    said = [list(vlm.generate(image_rgb, ('See ', Picture(image_rgb[10:40, 8:60])), limits,
                              image_key=key)) for key in ('one', None)]
    assert said[0] == said[1]
    assert vlm.kept_bytes == 0


def test_answer_when_phrase_marks_are_plain_text_then_still_the_label(vlm, family_name):
    text = f'A <|object_ref_start|> red mug <|object_ref_end|> {SPAN} here.'
    ids = vlm._prompts._answer_ids(text)
    text_tokenizer = vlm._processor.tokenizer
    as_tokens = '<|object_ref_start|>' in text_tokenizer.get_added_vocab()
    assert as_tokens == (family_name != 'perception_lm')
    assert (text_tokenizer.decode(ids, skip_special_tokens=True) == text) != as_tokens
    decoded = text_tokenizer.decode(ids)
    assert [s.label for s in read_answer(decoded, MaskVocabulary()).spans] == ['red mug']


def test_history_when_chat_markers_are_in_an_answer_then_letters(vlm, family_name):
    marker = LAYOUTS[family_name].end_of_turn
    text_tokenizer = vlm._processor.tokenizer
    ids = vlm._prompts._answer_ids(f'so {marker}{SPAN}')
    assert text_tokenizer.convert_tokens_to_ids(marker) not in ids
    assert tuple(ids[-4:]) == vlm.token_ids.codes_to_ids((1, 2))
    assert text_tokenizer.decode(ids) == f'so {marker}{SPAN}'


def test_generate_when_bfloat16_then_answers(model_dir, image_rgb):
    vlm = VisionLanguageModel.load(model_dir, dtype='bfloat16')
    with leaning(vlm._model, vlm.token_ids.start_id, 12.0):
        events, _ = run(vlm, image_rgb)
    assert any(isinstance(event, SpanClosed) for event in events)


# What published models write, and the labels of its spans; '?' where the text has none.
PUBLISHED = [
    (f'```json\n[{{"mask_2d": "{SPAN}", "label": "front black chair"}},\n'
     f'{{"mask_2d": "{OTHER}", "label": "a dog"}}]\n```', ['front black chair', 'a dog']),
    (f'```json\n[{{"mask_2d": {SPAN}, "label": "one of the dogs"}}]\n```', ['one of the dogs']),
    (f'<|object_ref_start|> A man <|object_ref_end|> {SPAN} rides <|object_ref_start|> a horse '
     f'<|object_ref_end|> {OTHER} .', ['A man', 'a horse']),
    (f'Sure, the segmentation result is {SPAN}.', ['?']),
    (f'<think> The red one. </think><answer> It is {SPAN}. </answer>', ['?']),
    (f'<think>\n\n</think>\n\n```json\n[{{"mask_2d": "{SPAN}", "label": "mug"}}]\n```', ['mug']),
    ('No target.', []),
    ('<think> None is red. </think><answer> No target. </answer>', []),
]


@contextmanager
def saying(vlm, text):
    """Make a model want to say a text, and then end its turn."""
    wanted = iter([*vlm._prompts._answer_ids(text), min(vlm._stop_ids)])

    def say(module, args, output):
        token_id = next(wanted)
        if token_id == vlm.token_ids.end_id:  # fed together with the code word before it
            token_id = next(wanted)
        return output + 1000 * torch.nn.functional.one_hot(
            torch.tensor(token_id), output.shape[-1])

    hook = vlm._model.lm_head.register_forward_hook(say)
    try:
        yield
    finally:
        hook.remove()


@pytest.mark.parametrize(('text', 'labels'), PUBLISHED)
def test_generate_when_published_form_is_said_then_read_as_such(vlm, image_rgb, text, labels):
    with saying(vlm, text):
        events = list(vlm.generate(image_rgb, GOAL))
    spans = [event for event in events if isinstance(event, SpanClosed)]
    answer = spoken_answer(events[-1], spans, vlm.vocabulary, '?')
    assert (answer.text, answer.finish_reason, answer.malformed) == (text, 'stop', ())
    assert [region.label for region in answer.regions] == labels
    assert [r.codes for r in answer.regions] == [(1, 2), (3, 4)][:len(labels)]
    assert all(region.score > 0.99 for region in answer.regions)
    assert is_no_target(text) == (not labels)

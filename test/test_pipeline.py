# SPDX-License-Identifier: Apache-2.0
"""Language model and mask tokenizer joined: random weights, a scripted answer."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from samtok_ros.errors import CheckpointError, ConfigError, ImageError
from samtok_ros.language.generation import GenerationLimits, SpanClosed, TextPiece
from samtok_ros.language.instructions import RegionReference, Round, goal_instruction
from samtok_ros.language.reading import Reading
from samtok_ros.pipeline import Pipeline
from samtok_ros.regions import Answer, Region

ONE = '<|mt_start|><|mt_0001|><|mt_0258|><|mt_end|>'
TWO = '<|mt_start|><|mt_0003|><|mt_0260|><|mt_end|>'
LIST = (f'```json\n[{{"mask_2d": "{ONE}", "label": "the red mug"}},\n'
        f'{{"mask_2d": "{TWO}", "label": "the ball"}}]\n```')


@pytest.fixture(scope='module')
def pipeline(tiny_model_dir):
    return Pipeline.load(str(tiny_model_dir))


@pytest.fixture(scope='module')
def answering(make_say):
    @contextmanager
    def answer(pipeline, text):
        """Make the language model want to say a text, whatever it is asked."""
        hook = make_say(pipeline, text)
        try:
            yield
        finally:
            hook.remove()

    return answer


@pytest.fixture
def read_ids(monkeypatch):
    """All token ids that the language model reads, in order."""
    ids = []
    for name in ('read', '_read_images'):
        inner = getattr(Reading, name)
        monkeypatch.setattr(Reading, name, lambda reading, token_ids, *more, _f=inner: (
            ids.extend(token_ids), _f(reading, token_ids, *more))[1])
    return ids


def test_ground_when_list_is_said_then_regions_with_masks(answering, pipeline, image_rgb):
    with answering(pipeline, LIST):
        answer = pipeline.ground(image_rgb, 'the red mug and the ball')
    assert (answer.text, answer.finish_reason, answer.malformed) == (LIST, 'stop', ())
    assert [(r.region_id, r.codes, r.label) for r in answer.regions] == [
        (1, (1, 2), 'the red mug'), (2, (3, 4), 'the ball')]
    for region in answer.regions:
        assert region.score == pytest.approx(1, abs=1e-3)
        assert region.mask.shape == image_rgb.shape[:2]
        assert 0 <= region.mask_score <= 1


def test_ground_when_several_regions_then_image_embedded_once_and_one_batch(answering,
    pipeline, image_rgb, monkeypatch
):
    calls = []
    for name in ('embed_image', 'decode'):
        inner = getattr(pipeline.mask_tokenizer, name)
        monkeypatch.setattr(pipeline.mask_tokenizer, name, lambda *a, _f=inner, _n=name: (
            calls.append(_n), _f(*a))[1])
    pipeline.forget()
    with answering(pipeline, 'No target.'):
        assert pipeline.ground(image_rgb, 'a boat').regions == ()
    assert calls == []
    with answering(pipeline, LIST):
        pipeline.ground(image_rgb, 'things')
    assert calls == ['embed_image', 'decode']
    with answering(pipeline, LIST):
        pipeline.ground(image_rgb, 'other things')
    assert calls == ['embed_image', 'decode', 'decode']  # the same image
    with answering(pipeline, LIST):
        pipeline.ground(image_rgb[:, ::-1], 'things')
    assert calls[3:] == ['embed_image', 'decode']


def test_ask_when_pixels_are_those_of_before_then_the_image_is_not_read_again(
        pipeline, image_rgb):
    images = []
    hook = pipeline.language_model._model.model.visual.register_forward_hook(
        lambda *_: images.append(1))
    limits = GenerationLimits(3)
    try:
        pipeline.forget()
        first = pipeline.ask(image_rgb, 'What is here?', limits=limits)
        assert pipeline.ask(image_rgb.copy(), 'What is here?', limits=limits).text == first.text
        assert len(images) == 1
        changed = image_rgb.copy()
        changed[7, 9] += 1
        pipeline.ask(changed, 'What is here?', limits=limits)
        assert len(images) == 2
        pipeline.forget()
        assert pipeline.language_model.kept_bytes == 0
    finally:
        hook.remove()


def test_ask_when_history_is_given_then_model_sees_all_rounds(
        answering, pipeline, image_rgb, read_ids):
    history = [Round(goal_instruction('the mug'), LIST)]
    pipeline.forget()
    with answering(pipeline, 'red'):
        pipeline.ask(image_rgb, 'Is it red?', history=history)
    with answering(pipeline, 'No target.'):
        pipeline.ground(image_rgb, 'the box', history=history)
    text = pipeline.language_model._processor.tokenizer.decode(read_ids)
    first = f'segment the mug in this image.<|im_end|>\n<|im_start|>assistant\n{LIST}<|im_end|>'
    assert text.count(first) == 1  # and the second time it is known
    assert f'{LIST}<|im_end|>\n<|im_start|>user\nIs it red?<|im_end|>' in text
    assert text.count('box in this image.') == 1


def test_stream_ground_when_consumed_then_pieces_spans_and_the_answer_last(
        answering, pipeline, image_rgb):
    with answering(pipeline, LIST):
        events = list(pipeline.stream_ground(image_rgb, 'things'))
    assert ''.join(e.text for e in events if isinstance(e, TextPiece)) == LIST
    assert [e.codes for e in events if isinstance(e, SpanClosed)] == [(1, 2), (3, 4)]
    assert isinstance(events[-1], Answer)
    assert not any(isinstance(event, Answer) for event in events[:-1])


def test_stream_ground_when_regions_are_given_then_the_model_reads_their_words(
        answering, pipeline, image_rgb, read_ids):
    with answering(pipeline, LIST):
        list(pipeline.stream_ground(image_rgb, 'things beside <region:1>',
                                    regions=[Region(1, (1, 2), '', 0.5)]))
    asked = pipeline.language_model._processor.tokenizer.decode(read_ids)
    assert f' beside {ONE} in this image.' in asked


def test_ground_when_sentence_is_said_then_label_is_the_goal(answering, pipeline, image_rgb):
    with answering(pipeline, f'It is {ONE}.'):
        answer = pipeline.ground(image_rgb, ' the Red mug ')
    assert [region.label for region in answer.regions] == ['the Red mug']


def test_ground_when_cancelled_then_regions_so_far_are_drawn(answering, pipeline, image_rgb):
    seen = []
    with answering(pipeline, LIST):
        for event in pipeline.stream_ground(
                image_rgb, 'things', None, lambda: any(isinstance(e, SpanClosed) for e in seen)):
            seen.append(event)
    answer = seen[-1]
    assert answer.finish_reason == 'cancelled'
    assert [(r.codes, r.mask is not None) for r in answer.regions] == [((1, 2), True)]


def test_ask_when_region_is_given_then_model_sees_its_words(
        answering, pipeline, image_rgb, read_ids):
    region = Region(7, (1, 2), 'mug', 0.5)
    with answering(pipeline, 'red'):
        answer = pipeline.ask(image_rgb, 'What colour is <region:1>?', [region])
    assert answer.text == 'red'
    text = pipeline.language_model._processor.tokenizer.decode(read_ids)
    assert f'What colour is {ONE}?<|im_end|>' in text


def test_draw_when_codes_are_given_then_as_the_mask_tokenizer_decodes(pipeline, image_rgb):
    region, = pipeline.draw(image_rgb, [Region(3, (5, 6), '', 1.0)])
    features = pipeline.mask_tokenizer.embed_image(image_rgb)
    decoded = pipeline.mask_tokenizer.decode(features, np.array([[5, 6]]))
    assert np.array_equal(region.mask, decoded.masks[0])
    rows, columns = np.nonzero(region.mask)
    if len(rows):
        assert region.box_xyxy == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    else:
        assert region.box_xyxy is None


@pytest.mark.parametrize(('arguments', 'error'), [
    ((np.zeros((4, 4), np.uint8), 'mug'), ImageError),
    ((np.zeros((40, 40, 3), np.uint8), ''), ConfigError),
])
def test_ground_when_input_is_bad_then_named_error(pipeline, arguments, error):
    with pytest.raises(error):
        pipeline.ground(*arguments)


def test_ask_when_limits_or_a_stop_are_given_then_kept(answering, pipeline, image_rgb):
    with answering(pipeline, 'the red mug'):
        answer = pipeline.ask(image_rgb, 'What is here?', limits=GenerationLimits(2))
    assert (answer.text, answer.finish_reason) == ('the red', 'length')
    answer = pipeline.ask(image_rgb, 'What is it?', [RegionReference((1, 2))],
                          should_stop=lambda: True)
    assert (answer.text, answer.finish_reason) == ('', 'cancelled')


def test_load_when_model_is_not_there_then_checkpoint_error(tmp_path):
    with pytest.raises(CheckpointError):
        Pipeline.load(str(tmp_path / 'nowhere'))


def test_ground_when_gradients_are_on_then_left_on_between_events(pipeline, image_rgb):
    for _ in pipeline.stream_ground(image_rgb, 'mug', GenerationLimits(2)):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


def test_ground_when_a_path_is_given_instead_of_pixels_then_says_how_to_read_it(pipeline):
    with pytest.raises(ImageError, match='image is no array: .* got str'):
        pipeline.ground('table.jpg', 'the mug')

# SPDX-License-Identifier: Apache-2.0
"""The policy of the reinforcement learning gives the numbers of the transformers model."""

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('transformers')

from samtok_ros.errors import ConfigError  # noqa: E402
from samtok_ros.reinforcement.sampling import (  # noqa: E402
    as_messages,
    draw_answers,
    load_policy,
)
from samtok_ros.words.logits_processor import GrammarLogitsProcessor  # noqa: E402
from samtok_ros.words.span_parser import SpanParser  # noqa: E402
from samtok_ros.words.vocabulary import MaskVocabulary  # noqa: E402


@pytest.fixture(scope='module')
def policy_and_processor(tiny_vlm_dir):
    return load_policy(tiny_vlm_dir)


@pytest.fixture(scope='module')
def plain(tiny_vlm_dir):
    from transformers import Qwen3VLForConditionalGeneration

    return Qwen3VLForConditionalGeneration.from_pretrained(tiny_vlm_dir, dtype=torch.float32,
                                                           local_files_only=True).eval()


def _turns():
    """Two pictures; the first with two texts, one of them three times."""
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 255, (2, 224, 320, 3), np.uint8)
    short, long = 'the red mug', 'Can you segment the blue ball left of the green box?'
    return [as_messages(text, picture) for text, picture in (
        (short, first), (long, second), (short, first), (long, first), (short, first))]


@pytest.fixture(scope='module')
def prompts(policy_and_processor):
    return policy_and_processor[1].apply_chat_template(
        _turns(), add_generation_prompt=True, tokenize=True, return_dict=True,
        return_tensors='pt', processor_kwargs={'padding': True})


def test_policy_when_answers_are_drawn_then_the_same_as_without_sharing(
        policy_and_processor, plain, prompts):
    from transformers import LogitsProcessorList

    policy, _ = policy_and_processor
    how = {'do_sample': True, 'temperature': 1.0, 'top_k': 0, 'max_new_tokens': 8}
    torch.manual_seed(1)
    ours = policy.eval().generate(**prompts, **how)
    torch.manual_seed(1)
    theirs = plain.generate(**prompts, **how, logits_processor=LogitsProcessorList(
        [GrammarLogitsProcessor(policy.grammar)]))
    assert torch.equal(ours, theirs)


def test_policy_when_a_text_is_scored_then_states_and_gradients_as_without_sharing(
        policy_and_processor, plain, prompts):
    policy, processor = policy_and_processor
    length = prompts['input_ids'].shape[1]
    answers = torch.randint(20, 60, (5, 6), generator=torch.Generator().manual_seed(0))
    padding = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0],
                            [1, 1, 1, 1, 1, 0], [1, 1, 0, 0, 0, 0]])
    inputs = {
        'input_ids': torch.cat([prompts['input_ids'], answers], 1),
        'attention_mask': torch.cat([prompts['attention_mask'], padding], 1),
        'mm_token_type_ids': torch.cat([prompts['mm_token_type_ids'], torch.zeros_like(answers)],
                                       1),
        'pixel_values': prompts['pixel_values'], 'image_grid_thw': prompts['image_grid_thw']}
    weights = torch.randn(5, 6, 48, generator=torch.Generator().manual_seed(1))
    states, gradients = [], []
    for model in (plain, policy):
        model.zero_grad()
        hidden = model.model(**inputs, use_cache=False).last_hidden_state[:, length - 1:-1]
        # What predicts an answer's tokens: from the last of the prompt to the last but one.
        states.append(hidden[padding.bool()])
        (hidden * weights * padding[..., None]).sum().backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert torch.allclose(*states, atol=1e-4)
    assert processor.tokenizer.padding_side == 'left'
    for name, ours in gradients[1].items():
        if name.startswith('model.visual'):
            assert ours is None
        else:
            assert torch.allclose(ours, gradients[0][name], atol=1e-3), name


def test_draw_answers_when_tries_are_given_then_so_many_each_with_well_formed_spans(
        policy_and_processor):
    policy, processor = policy_and_processor
    torch.manual_seed(0)
    answers = draw_answers(policy, processor, _turns()[:2], 3, 12)
    assert [len(one) for one in answers] == [3, 3]
    assert len(set(answers[0])) > 1
    parser = SpanParser(MaskVocabulary())
    malformed = [bad.reason.name for one in answers for text in one
                 for bad in parser.parse(text).malformed]
    assert set(malformed) <= {'UNCLOSED'}  # cut off by the limit


def test_draw_answers_when_phrases_are_marked_then_the_marks_stay_and_the_end_goes(
        policy_and_processor, monkeypatch):
    policy, processor = policy_and_processor
    said = '<|object_ref_start|>cup<|object_ref_end|>'
    tail = processor.tokenizer(said + '<|im_end|>' + processor.tokenizer.pad_token,
                               return_tensors='pt')['input_ids']
    monkeypatch.setattr(policy, 'generate', lambda input_ids, **_: torch.cat(
        [input_ids, tail.expand(len(input_ids), -1)], 1))
    assert draw_answers(policy, processor, _turns()[:2], 0, 12) == [[said], [said]]


def test_draw_answers_when_there_is_to_be_one_then_it_is_what_the_model_says_in_use(
        policy_and_processor, vlm):
    from samtok_ros.language.generation import Finished, GenerationLimits

    (turn,), = [_turns()[:1][0]]
    picture = np.asarray(turn['content'][0]['image'])
    *_, last = vlm.generate(picture, turn['content'][1]['text'], GenerationLimits(10))
    assert isinstance(last, Finished)
    (said,), = draw_answers(*policy_and_processor, [[turn]], 0, 10)
    assert last.text.startswith(said) or said.startswith(last.text)
    assert said


def test_load_policy_when_the_vision_tower_has_deepstack_layers_then_refused(
        tiny_vlm_dir, tmp_path):
    import json
    import shutil

    shutil.copytree(tiny_vlm_dir, tmp_path / 'model')
    path = tmp_path / 'model' / 'config.json'
    config = json.loads(path.read_text())
    config['vision_config']['deepstack_visual_indexes'] = [0]
    path.write_text(json.dumps(config))
    with pytest.raises(ConfigError, match='deepstack'):
        load_policy(tmp_path / 'model')

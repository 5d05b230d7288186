# SPDX-License-Identifier: Apache-2.0
"""The grammar inside the generation loop, rows of a batch apart."""
import pytest

from samtok_ros.errors import SpanError
from samtok_ros.words.span_grammar import SpanGrammar
from samtok_ros.words.vocabulary import MaskTokenIds

torch = pytest.importorskip('torch')
pytest.importorskip('transformers')

IDS = MaskTokenIds(10, 19, (range(11, 15), range(15, 19)))
TEXT = [*range(11), 20, 21]


@pytest.fixture
def processor():
    from samtok_ros.words.logits_processor import GrammarLogitsProcessor

    return GrammarLogitsProcessor(SpanGrammar(IDS))


def allowed(processor, rows, dtype=torch.float32):
    """Return per row which tokens keep their score; the others must be minus infinity."""
    scores = torch.randn(len(rows), 22).to(dtype)
    before = scores.clone()
    result = processor(torch.tensor(rows), scores)
    kept = torch.isfinite(result)
    assert torch.equal(scores, before)
    assert result.dtype == dtype
    assert torch.equal(result[kept], scores[kept])
    return [torch.nonzero(row).flatten().tolist() for row in kept]


def test_call_when_prompt_holds_mask_words_then_they_are_not_part_of_the_grammar(processor):
    assert allowed(processor, [[1, 10, 12, 16]]) == [TEXT]


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_call_when_rows_differ_then_each_has_its_own_state(processor, dtype):
    allowed(processor, [[1, 2], [3, 4]], dtype)
    assert allowed(processor, [[1, 2, 10], [3, 4, 5]], dtype) == [[*range(11, 15)], TEXT]
    assert allowed(processor, [[1, 2, 10, 11], [3, 4, 5, 10]], dtype) == [
        [*range(15, 19)], [*range(11, 15)]]


def test_call_when_rows_change_places_then_states_follow_the_tokens(processor):
    allowed(processor, [[1, 2], [1, 2]])
    allowed(processor, [[1, 2, 10], [1, 2, 5]])
    assert allowed(processor, [[1, 2, 5, 6], [1, 2, 10, 11]]) == [TEXT, [*range(15, 19)]]


def test_call_when_a_row_breaks_the_grammar_then_refused(processor):
    allowed(processor, [[1, 2]])
    with pytest.raises(SpanError, match='token 15 is not allowed'):
        allowed(processor, [[1, 2, 15]])


def tiny_model():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=22, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                         num_attention_heads=2, bos_token_id=0, eos_token_id=9, pad_token_id=0)
    return LlamaForCausalLM(config).eval()


@pytest.mark.parametrize('options', [{'do_sample': True}, {'num_beams': 3}])
def test_generate_when_model_is_random_then_every_row_keeps_the_grammar(processor, options):
    prompt = torch.tensor([[1, 2, 3], [4, 5, 6]])
    written = tiny_model().generate(
        prompt, attention_mask=torch.ones_like(prompt), logits_processor=[processor],
        max_new_tokens=24, **options)
    grammar = SpanGrammar(IDS)
    for row in written[:, 3:].tolist():
        state = grammar.start()
        for token_id in row:
            state = grammar.advance(state, token_id)

# SPDX-License-Identifier: Apache-2.0
"""Positions and masks of packed questions, by hand and against the model."""

import pytest
import torch

from samtok_ros.language.positions import packed_attention_mask, position_ids_for


def test_positions_when_small_then_as_worked_out_by_hand():
    # One token, an image of 2 x 3, two texts of two and one tokens; both resume at 1 + max(2, 3).
    assert position_ids_for(1, (2, 3), [2, 1]).tolist() == [
        [0, 1, 1, 1, 1, 1, 1, 4, 5, 4],
        [0, 1, 1, 1, 2, 2, 2, 4, 5, 4],
        [0, 1, 2, 3, 1, 2, 3, 4, 5, 4]]


def test_mask_when_two_texts_then_blind_to_each_other():
    expected = ['1000', '1100', '1110', '1001']  # prefix, first text of two, second text of one
    assert packed_attention_mask(1, [2, 1]).int().tolist() == [
        [int(c) for c in row] for row in expected]


def test_positions_when_one_text_then_equal_to_the_models_own(vlm):
    model = vlm._model
    image, before, after = model.config.image_token_id, 4, 5
    ids = torch.tensor([[1] * before + [image] * 70 + [1] * after])
    own, _ = model.model.get_rope_index(ids, (ids == image).int(), torch.tensor([[1, 14, 20]]))
    assert torch.equal(own[:, 0], position_ids_for(before, (7, 10), [after]))


@pytest.mark.parametrize('attention', ['sdpa', 'eager'])
def test_packing_when_two_texts_then_each_as_if_alone(tiny_vlm_dir, attention):
    from samtok_ros.language.checkpoint import load_model

    model = load_model(tiny_vlm_dir, torch.float32)
    model.set_attn_implementation(attention)
    torch.manual_seed(0)
    prefix, texts = torch.randn(1, 8, 48), [torch.randn(1, 5, 48), torch.randn(1, 3, 48)]

    def run(lengths, embeddings):
        mask = packed_attention_mask(8, lengths)[None, None]
        if attention == 'eager':
            mask = torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)
        positions = position_ids_for(2, (2, 3), lengths)[:, None]
        return model.model.language_model(inputs_embeds=embeddings, attention_mask=mask,
                                          position_ids=positions).last_hidden_state

    packed = run([5, 3], torch.cat([prefix, *texts], 1))
    alone = [run([text.shape[1]], torch.cat([prefix, text], 1))[:, 8:] for text in texts]
    assert torch.allclose(packed[:, 8:], torch.cat(alone, 1), atol=1e-5)

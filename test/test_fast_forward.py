# SPDX-License-Identifier: Apache-2.0
"""The training forward passes give the numbers of the transformers model."""

import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('transformers')

from samtok_ros.language.positions import position_ids_for  # noqa: E402
from samtok_ros.language.text_tokenizer import train_text_tokenizer  # noqa: E402
from samtok_ros.language.tiny_vlm import TinyVlmConfig, model_config_for  # noqa: E402
from samtok_ros.training.fast_forward import (  # noqa: E402
    TextGroup,
    image_embeddings,
    text_hidden_states,
)

GRID = (4, 6)


@pytest.fixture(scope='module')
def model():
    from transformers import Qwen3VLForConditionalGeneration

    torch.manual_seed(0)
    sizes = TinyVlmConfig(vision_depth=2, vision_hidden=32, vision_intermediate=64, vision_heads=2,
                          text_layers=2, text_hidden=48, text_intermediate=64, text_heads=2,
                          head_dim=24)
    config = model_config_for(sizes, train_text_tokenizer([], 300))
    return Qwen3VLForConditionalGeneration(config).eval()


def test_image_embeddings_when_batched_then_equal_transformers(model):
    patches = torch.randn(3, 24, 768)
    with torch.no_grad():
        ours = image_embeddings(model.model.visual, patches, GRID)
        grid = torch.tensor([[1, *GRID]] * 3)
        theirs = model.model.visual(patches.reshape(-1, 768), grid_thw=grid).pooler_output
    assert torch.allclose(ours.reshape(-1, 48), theirs, atol=1e-5)


def test_text_hidden_states_when_questions_share_a_prefix_then_equal_one_by_one(model):
    language = model.model.language_model
    prefix = torch.randn(2, 3 + 6 + 1, 48)
    positions = position_ids_for(3, (2, 3), [])
    positions = torch.cat([positions, torch.full((3, 1), 6)], 1)
    short = TextGroup(torch.randint(0, 300, (2, 3, 5)))
    long = TextGroup(torch.randint(0, 300, (2, 1, 8)))
    with torch.no_grad():
        output = text_hidden_states(language, prefix, positions, [short, long], (1,))
        for group, hidden in zip((short, long), output.hidden, strict=True):
            length = group.token_ids.shape[-1]
            for image in range(2):
                for question in range(group.token_ids.shape[1]):
                    tokens = language.embed_tokens(group.token_ids[image, question])
                    embeddings = torch.cat([prefix[image], tokens])[None]
                    places = position_ids_for(3, (2, 3), [1 + length])[:, None]
                    theirs = language(inputs_embeds=embeddings, position_ids=places)
                    expected = theirs.last_hidden_state[0, -length:]
                    assert torch.allclose(hidden[image, question], expected, atol=1e-4)
    weights = output.image_attention[1][0]
    assert weights.shape == (2, 2, 3, 5, 10)
    assert bool((weights.sum(-1) < 1).all())

# SPDX-License-Identifier: Apache-2.0
"""The graphs that are exported, as torch modules: they compute what the mask tokenizer computes."""

import dataclasses

import numpy as np
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from small_networks import SMALL

from samtok_ros.export import encoder_graph
from samtok_ros.export.bfloat16 import rounded_in_float32
from samtok_ros.export.encoder_graph import ImageEncoderGraph
from samtok_ros.export.mask_graphs import MaskDecoderGraph, MaskEncoderGraph, PromptDecoderGraph
from samtok_ros.export.plans import plan_of, trace
from samtok_ros.tokenizer.network import MaskTokenizerNetwork

# Windows that do not divide the maps are padded; one more codebook; three heads at the start.
ODD = dataclasses.replace(SMALL, trunk_embed_dim=24, trunk_num_heads=3, codebook_depth=3,
                          trunk_window_spec=(8, 6, 6, 2), trunk_stages=(1, 2, 3, 1),
                          trunk_global_att_blocks=(4,), transformer_depth=1)
COUNTS = (1, 2, 7, 20)


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(5)
    network = MaskTokenizerNetwork(ODD)
    for parameter in network.sam.parameters():
        if parameter.ndim > 1:
            parameter.data *= 2
    return network.eval().requires_grad_(False)


@pytest.fixture(scope='module')
def image():
    return torch.randint(0, 256, (ODD.image_size, ODD.image_size, 3), dtype=torch.uint8)


@pytest.fixture(scope='module')
def maps(network, image):
    return network.sam.embed_image(image.permute(2, 0, 1).unsqueeze(0).float())


def repeated(maps, count):
    return maps.for_regions(torch.zeros(count, dtype=torch.int64))


def test_image_encoder_when_run_then_it_gives_the_three_maps(network, image, maps):
    for ours, theirs in zip(ImageEncoderGraph(network, torch.float32)(image), maps.maps(),
                            strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_image_encoder_when_attention_is_split_then_nothing_changes(
        network, image, maps, monkeypatch):
    monkeypatch.setattr(encoder_graph, 'ROWS_AT_ONCE', 5)
    for ours, theirs in zip(ImageEncoderGraph(network, torch.float32)(image), maps.maps(),
                            strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('dtype, most_off', [(torch.float16, 3e-3), (torch.bfloat16, 3e-2)])
def test_image_encoder_when_half_precision_then_it_is_close_and_the_network_stays(
        network, image, maps, dtype, most_off):
    graph = ImageEncoderGraph(network, dtype)
    for ours, theirs in zip(graph(image), maps.maps(), strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() <= most_off * theirs.norm()
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert dtype in {parameter.dtype for parameter in graph.parameters()}


def test_image_encoder_when_traced_then_bytes_go_into_a_cast_and_nowhere_else(network):
    # TensorRT refuses a uint8 input that is transposed first.
    graph = trace(plan_of('image_encoder', network, torch.float32)).graph
    assert graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    assert [node.op_type for node in graph.node if graph.input[0].name in node.input] == ['Cast']


def test_image_encoder_when_traced_in_half_precision_then_onnxruntime_agrees(network, image, maps):
    model = trace(plan_of('image_encoder', network, torch.float16))
    assert {tensor.data_type for tensor in model.graph.initializer} >= {TensorProto.FLOAT16}
    session = ort.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    for ours, theirs in zip(session.run(None, {'image_rgb': image.numpy()}), maps.maps(),
                            strict=True):
        assert np.linalg.norm(ours - theirs.numpy()) <= 3e-3 * theirs.norm()


@pytest.mark.parametrize('count', COUNTS)
def test_mask_decoder_when_run_then_it_gives_the_best_of_three(network, maps, count):
    depth, size = network.config.codebook_depth, network.config.codebook_size
    codes = torch.randint(0, size, (count, depth))
    candidates = network.sam.decode_embeddings(
        repeated(maps, count), network.quantizer.codes_to_embeddings(codes))
    logits, scores = candidates.best()
    ours = MaskDecoderGraph(network)(*maps.maps(), codes)
    torch.testing.assert_close(ours[0], logits, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(ours[1], scores)
    assert torch.equal(ours[2], candidates.scores.argmax(dim=1))


def test_mask_decoder_when_a_level_is_left_out_then_it_adds_nothing(network, maps):
    size, depth = network.config.codebook_size, network.config.codebook_depth
    first = torch.randint(0, size, (3, 1))
    logits, _ = network.sam.decode_embeddings(
        repeated(maps, 3), network.quantizer.codes_to_embeddings(first)).best()
    codes = torch.cat([first, torch.full((3, depth - 1), size)], dim=1)
    ours, _, _ = MaskDecoderGraph(network)(*maps.maps(), codes)
    torch.testing.assert_close(ours, logits, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('count', COUNTS)
def test_mask_encoder_when_run_then_the_codes_are_equal(network, maps, count):
    side = network.config.low_res_size
    prompts = (torch.rand(count, 1, side, side) > 0.5).float()
    corners = torch.rand(count, 2, 2).sort(dim=1).values.flatten(1)
    expected = network.quantizer.embeddings_to_codes(
        network.sam.embed_masks(repeated(maps, count), prompts, corners))
    assert torch.equal(MaskEncoderGraph(network)(maps.embedding, prompts, corners), expected)


@pytest.mark.parametrize('labels', [(1,), (2, 3)])
def test_prompt_decoder_when_run_then_it_gives_all_candidates(network, maps, labels):
    points = torch.rand(4, len(labels), 2) * network.config.image_size
    kinds = torch.tensor([labels] * 4)
    tokens = network.sam.embed_points(points, kinds)
    expected = network.sam.decode_tokens(repeated(maps, 4), tokens)
    logits, scores = PromptDecoderGraph(network)(*maps.maps(), points, kinds)
    assert logits.shape[1] == scores.shape[1] == 4
    torch.testing.assert_close(logits[:, 1:], expected.low_res_logits, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(scores[:, 1:], expected.scores)


def test_bfloat16_when_run_on_a_cpu_then_results_are_those_of_bfloat16():
    torch.manual_seed(0)
    values, weights = torch.randn(4, 8), torch.randn(8, 5).bfloat16()
    raw = numpy_helper.from_array(weights.float().numpy(), 'w32')
    model = helper.make_model(helper.make_graph(
        [helper.make_node('Cast', ['w32'], ['w'], to=TensorProto.BFLOAT16),
         helper.make_node('Cast', ['x'], ['narrow'], to=TensorProto.BFLOAT16),
         helper.make_node('MatMul', ['narrow', 'w'], ['product'], name='product'),
         helper.make_node('Cast', ['product'], ['y'], to=TensorProto.FLOAT)],
        'product', [helper.make_tensor_value_info('x', TensorProto.FLOAT, [4, 8])],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, [4, 5])], [raw],
        value_info=[helper.make_tensor_value_info(name, TensorProto.BFLOAT16, None)
                    for name in ('w', 'narrow', 'product')]),
        opset_imports=[helper.make_opsetid('', 18)], ir_version=10)

    def run(model):
        session = ort.InferenceSession(model.SerializeToString(),
                                       providers=['CPUExecutionProvider'])
        return session.run(None, {'x': values.numpy()})[0]

    with pytest.raises(Exception, match='NOT_IMPLEMENTED'):
        run(model)
    expected = (values.bfloat16() @ weights).float().numpy()
    np.testing.assert_allclose(run(rounded_in_float32(model)), expected, rtol=1e-2)
    assert not np.allclose(values.numpy() @ weights.float().numpy(), expected, rtol=1e-4)

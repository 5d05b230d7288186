# SPDX-License-Identifier: Apache-2.0
"""How each graph is traced: its module, example inputs, the names of its tensors, free axes."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx
import torch
from torch import nn

from samtok_ros.export.encoder_graph import ImageEncoderGraph
from samtok_ros.export.mask_graphs import MaskDecoderGraph, MaskEncoderGraph, PromptDecoderGraph
from samtok_ros.onnx.manifest import GRAPHS, TensorSpec
from samtok_ros.tokenizer.network import MaskTokenizerNetwork

OPSET = 18
"""The newest that TensorRT 8.6 reads, the oldest one on a Jetson; it has the layer norm."""

# Neither 0 nor 1, which the exporter would take for sizes that never change.
_REGIONS, _POINTS = 3, 2
_DTYPES = {onnx.TensorProto.FLOAT: 'float32', onnx.TensorProto.INT64: 'int64',
           onnx.TensorProto.UINT8: 'uint8'}


@dataclass(frozen=True)
class Plan:
    """One graph to be traced.

    Attributes:
        module: in eval mode.
        inputs: an example of each, by name and in order.
        outputs: names, in order.
        axes: names of the leading axes without a fixed size, by input.
    """

    module: nn.Module
    inputs: Mapping[str, torch.Tensor]
    outputs: tuple[str, ...]
    axes: Mapping[str, tuple[str, ...]]


def plan_of(name: str, network: MaskTokenizerNetwork, dtype: torch.dtype) -> Plan:
    """Return the plan of one of GRAPHS.

    Args:
        name: of the graph.
        network: in float32 on the CPU; stays as it is.
        dtype: of the image encoder's matrix products.
    """
    return _MAKERS[name](network, dtype)


def trace(plan: Plan) -> onnx.ModelProto:
    """Turn a module into an ONNX model without traces of this machine."""
    shapes = tuple({place: torch.export.Dim.DYNAMIC for place, _ in enumerate(plan.axes[name])}
                   if name in plan.axes else None for name in plan.inputs)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        program = torch.onnx.export(
            plan.module.eval(), tuple(plan.inputs.values()), input_names=list(plan.inputs),
            output_names=list(plan.outputs), dynamic_shapes=shapes, opset_version=OPSET,
            dynamo=True, verbose=False)
    model = program.model_proto
    # Source lines and paths of whoever exported are of no use to whoever runs it.
    del model.metadata_props[:], model.graph.metadata_props[:]
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input,
                 *model.graph.output, *model.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ''
    return model


def specs_of(plan: Plan, model: onnx.ModelProto) -> tuple[tuple[TensorSpec, ...], ...]:
    """Return inputs and outputs of a traced model, with free axes under their own names."""
    names = {}
    for tensor in model.graph.input:
        for size, axis in zip(tensor.type.tensor_type.shape.dim, plan.axes.get(tensor.name, ()),
                              strict=False):
            names[size.dim_param] = axis
    return tuple(
        tuple(TensorSpec(tensor.name, _DTYPES[tensor.type.tensor_type.elem_type],
                         tuple(names[size.dim_param] if size.dim_param else size.dim_value
                               for size in tensor.type.tensor_type.shape.dim))
              for tensor in tensors)
        for tensors in (model.graph.input, model.graph.output))


def _image_encoder(network: MaskTokenizerNetwork, dtype: torch.dtype) -> Plan:
    side = network.config.image_size
    return Plan(ImageEncoderGraph(network, dtype),
                {'image_rgb': torch.zeros(side, side, 3, dtype=torch.uint8)},
                ('embedding', 'high_res_0', 'high_res_1'), {})


def _mask_decoder(network: MaskTokenizerNetwork, dtype: torch.dtype) -> Plan:
    codes = torch.zeros(_REGIONS, network.config.codebook_depth, dtype=torch.int64)
    return Plan(MaskDecoderGraph(network), {**_maps(network), 'codes': codes},
                ('low_res_logits', 'scores', 'best'), {'codes': ('regions',)})


def _mask_encoder(network: MaskTokenizerNetwork, dtype: torch.dtype) -> Plan:
    side = network.config.low_res_size
    return Plan(MaskEncoderGraph(network),
                {'embedding': _maps(network)['embedding'],
                 'mask_prompt': torch.rand(_REGIONS, 1, side, side),
                 'box_unit': torch.rand(_REGIONS, 4)},
                ('codes',), {'mask_prompt': ('regions',), 'box_unit': ('regions',)})


def _prompt_decoder(network: MaskTokenizerNetwork, dtype: torch.dtype) -> Plan:
    axes = ('regions', 'points')
    return Plan(PromptDecoderGraph(network),
                {**_maps(network), 'points': torch.rand(_REGIONS, _POINTS, 2),
                 'labels': torch.ones(_REGIONS, _POINTS, dtype=torch.int64)},
                ('low_res_logits', 'scores'), {'points': axes, 'labels': axes})


def _maps(network: MaskTokenizerNetwork) -> dict[str, torch.Tensor]:
    channels, cells = network.config.latent_dim, network.config.embedding_size
    return {'embedding': torch.rand(1, channels, cells, cells),
            'high_res_0': torch.rand(1, channels // 8, 4 * cells, 4 * cells),
            'high_res_1': torch.rand(1, channels // 4, 2 * cells, 2 * cells)}


_MAKERS: Mapping[str, Callable[[MaskTokenizerNetwork, torch.dtype], Plan]] = dict(zip(
    GRAPHS, (_image_encoder, _mask_decoder, _mask_encoder, _prompt_decoder), strict=True))

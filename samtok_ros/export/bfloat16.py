# SPDX-License-Identifier: Apache-2.0
"""bfloat16 files on a machine that cannot run them: float32 operations with rounded results.

ONNX Runtime has no bfloat16 arithmetic on a CPU. What a GPU does, to multiply in bfloat16 and to
add up in float32, is the same as widening the inputs of an operation and rounding its output; so a
file can be compared with torch here, and is compared again where it runs.
"""

from onnx import ModelProto, NodeProto, TensorProto, helper


def rounded_in_float32(model: ModelProto) -> ModelProto:
    """Return a model that computes the same with float32 operations and casts.

    Args:
        model: with shapes and types of its intermediate results; its inputs and outputs are not
            bfloat16.
    """
    narrow = {value.name for value in model.graph.value_info
              if value.type.tensor_type.elem_type == TensorProto.BFLOAT16}
    narrow |= {tensor.name for tensor in model.graph.initializer
               if tensor.data_type == TensorProto.BFLOAT16}
    result = ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:], result.graph.value_info[:]
    for node in model.graph.node:
        result.graph.node.extend([node] if node.op_type == 'Cast' else _widened(node, narrow))
    return result


def _widened(node: NodeProto, narrow: set[str]) -> list[NodeProto]:
    """Return a node between casts, where it works on bfloat16."""
    inputs = {name: f'{name}/{node.name}/wide' for name in node.input if name in narrow}
    outputs = {name: f'{name}/exact' for name in node.output if name in narrow}
    wide = NodeProto()
    wide.CopyFrom(node)
    wide.input[:] = [inputs.get(name, name) for name in node.input]
    wide.output[:] = [outputs.get(name, name) for name in node.output]
    before = [helper.make_node('Cast', [name], [new], to=TensorProto.FLOAT)
              for name, new in inputs.items()]
    after = [helper.make_node('Cast', [new], [name], to=TensorProto.BFLOAT16)
             for name, new in outputs.items()]
    return [*before, wide, *after]

# SPDX-License-Identifier: Apache-2.0
"""The mask tokenizer without torch: exported files, run by ONNX Runtime."""

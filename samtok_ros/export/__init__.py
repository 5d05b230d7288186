# SPDX-License-Identifier: Apache-2.0
"""Mask tokenizer of torch -> ONNX files, checked against torch before they are written."""

"""Mask tokenizer: masks <-> codes, against one image."""

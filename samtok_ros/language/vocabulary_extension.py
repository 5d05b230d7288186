# SPDX-License-Identifier: Apache-2.0
"""Adds the mask words to a base model: files of its directory in, files of a new one out.

The files are changed directly, so that everything else in them stays as it is.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer

from samtok_ros.errors import CheckpointError
from samtok_ros.hub.manifest import MANIFEST_FILE
from samtok_ros.language.checkpoint import check_files, load_processor
from samtok_ros.language.families import check_model_type
from samtok_ros.language.json_files import read_json, write_json
from samtok_ros.language.table_growth import TableGrowth, extend_weights
from samtok_ros.new_folder import new_folder
from samtok_ros.words.vocabulary import MaskTokenIds, MaskVocabulary

# Weights of other formats would stay without the words; the record of a download would be wrong.
_LEFT_OUT = ('.bin', '.pt', '.pth', '.ckpt', '.gguf', '.h5', '.msgpack', '.onnx', MANIFEST_FILE)


@dataclass(frozen=True)
class Extension:
    """What was added.

    Attributes:
        token_ids: of the mask words.
        old_rows: rows of the tables before.
        new_rows: and now.
        tables: names of the tensors that grew, without `lm_head.weight` where heads are tied.
        dtype: of their numbers, as before.
    """

    token_ids: MaskTokenIds
    old_rows: int
    new_rows: int
    tables: tuple[str, ...]
    dtype: torch.dtype


def extend_vocabulary(
    base_dir: Path, out_dir: Path, seed: int = 0, vocabulary: MaskVocabulary | None = None
) -> Extension:
    """Write a copy of a base model that has the mask words, ready to be trained.

    The words are ordinary added tokens behind all others. A row of theirs is the mean of the base
    vocabulary's rows plus a little noise; an untied head is given rows in the same way.

    Args:
        base_dir: a directory of one of the families that the package runs.
        out_dir: the new directory; must not exist or be empty. It comes into being at once, when
            all of it is written.
        seed: of the noise; same base and seed give the same files.
        vocabulary: the words; the published 256 x 2 when left out.
    Raises:
        CheckpointError: the base cannot be used, or has mask words already.
        ConfigError: there is something at out_dir.
    Source: samtok-spec 2.1; differs: the published code leaves the new rows of untied heads as the
        resize makes them, and cuts tables that are longer than the text tokenizer.
    """
    vocabulary = vocabulary or MaskVocabulary()
    check_files(base_dir)
    config = read_json(base_dir / 'config.json')
    check_model_type(config.get('model_type'))
    with new_folder(out_dir) as part:
        first_id = _extend_text_tokenizer(base_dir, part, vocabulary)
        grow = TableGrowth(first_id, len(vocabulary.words), seed)
        extend_weights(base_dir, part, grow)
        write_json(part / 'config.json', _with_rows(config, grow.new_rows))
        _copy_the_rest(base_dir, part)
        token_ids = MaskTokenIds.from_text_tokenizer(load_processor(part).tokenizer, vocabulary)
    return Extension(token_ids, grow.old_rows, grow.new_rows, tuple(grow.tables), grow.dtype)


def _extend_text_tokenizer(base_dir: Path, out_dir: Path, vocabulary: MaskVocabulary) -> int:
    """Write the files of the text tokenizer with the words; return the id of the first one."""
    path = base_dir / 'tokenizer.json'
    if not path.is_file():
        raise CheckpointError(f'{base_dir} lacks a file', expected=path.name,
                              fix='load and save its text tokenizer with transformers first')
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more precise
        raise CheckpointError(f'{path} is damaged', got=str(error).splitlines()[0],
                              fix='fetch or copy the file again') from error
    known = tokenizer.get_vocab(with_added_tokens=True)
    there = [word for word in vocabulary.words if word in known]
    if there:
        raise CheckpointError('model has mask words already', expected='a base model',
                              got=f'{len(there)} of {len(vocabulary.words)} words, such as '
                              f'{there[0]}', fix='use it as it is')
    first_id = max(known.values()) + 1
    tokenizer.add_tokens([AddedToken(word, single_word=False, lstrip=False, rstrip=False,
                                     normalized=False, special=False)
                          for word in vocabulary.words])
    tokenizer.save(str(out_dir / path.name))
    ids = {word: first_id + index for index, word in enumerate(vocabulary.words)}
    _extend_records(base_dir, out_dir, ids)
    return first_id


def _extend_records(base_dir: Path, out_dir: Path, ids: Mapping[str, int]) -> None:
    """Add the words to the lists of added tokens that older releases keep beside the tokenizer."""
    path = base_dir / 'added_tokens.json'
    if path.is_file():
        write_json(out_dir / path.name, read_json(path) | ids)
    path = base_dir / 'tokenizer_config.json'
    settings = read_json(path) if path.is_file() else {}
    if 'added_tokens_decoder' in settings:
        flags = dict.fromkeys(('lstrip', 'normalized', 'rstrip', 'single_word', 'special'), False)
        settings['added_tokens_decoder'] |= {
            str(i): {'content': word, **flags} for word, i in ids.items()}
        write_json(out_dir / path.name, settings)


def _with_rows(config: dict[str, Any], rows: int) -> dict[str, Any]:
    """Return the settings with a new size of the vocabulary, wherever they state it."""
    text = config.get('text_config')
    if text is not None:
        config = config | {'text_config': text | {'vocab_size': rows}}
    return config | {'vocab_size': rows} if text is None or 'vocab_size' in config else config


def _copy_the_rest(base_dir: Path, out_dir: Path) -> None:
    for path in sorted(base_dir.iterdir()):
        known = (out_dir / path.name).exists() or path.name.endswith('.safetensors')
        if path.is_file() and not known and not path.name.endswith(_LEFT_OUT):
            shutil.copyfile(path, out_dir / path.name)

# SPDX-License-Identifier: Apache-2.0
"""Judges a model directory by its small files and the headers of its large ones."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samtok_ros.doctor.findings import Finding, problem_of
from samtok_ros.doctor.weights import TensorHeader, mask_tokenizer_elements, model_headers
from samtok_ros.errors import CheckpointError, SamtokError
from samtok_ros.hub.manifest import Manifest
from samtok_ros.hub.needed_files import MASK_TOKENIZERS, lacking
from samtok_ros.tokenizer.config import MaskTokenizerConfig
from samtok_ros.words.vocabulary import MaskTokenIds, MaskVocabulary

TEXT_SIZES = ('num_hidden_layers', 'num_attention_heads', 'num_key_value_heads', 'hidden_size',
              'head_dim')
"""Values of config.json, or of its text_config, from which the text cache is estimated."""

_EMBEDDING_NAMES = ('embed_tokens.weight', 'lm_head.weight')


@dataclass(frozen=True)
class ModelFiles:
    """What is known of a model without loading it.

    Attributes:
        config: content of config.json.
        headers: of the vision-language model's tensors, by name.
        mask_tokenizer: sizes of the mask tokenizer.
        mask_tokenizer_elements: values in its file.
    """

    config: Mapping[str, Any]
    headers: Mapping[str, TensorHeader]
    mask_tokenizer: MaskTokenizerConfig
    mask_tokenizer_elements: int


def inspect_model(model_dir: Path) -> tuple[list[Finding], ModelFiles | None]:
    """Look at a model directory.

    Returns:
        What was found, and the facts that an estimate of memory needs; None where files are
        missing or damaged.
    """
    try:
        names = {path.name for path in model_dir.iterdir() if path.is_file()}
    except OSError as error:
        return [problem_of('files', error)], None
    absent = lacking(names)
    if absent:
        return [Finding('files', 'problem', f'{model_dir} lacks {", ".join(absent)}',
                        'fetch or copy the model again')], None
    findings = [Finding('files', 'ok', f'{model_dir}: all that a model needs')]
    found: dict[str, Any] = {}
    steps: Sequence[tuple[str, str, Callable[[], Any]]] = (
        ('origin', '', lambda: Manifest.read(model_dir)),
        ('weights', 'headers', lambda: model_headers(model_dir)),
        ('weights', 'config', lambda: _config(model_dir)),
        ('mask tokenizer', 'mask_tokenizer', lambda: MaskTokenizerConfig.load(model_dir)),
        ('mask tokenizer', 'mask_tokenizer_elements',
         lambda: mask_tokenizer_elements(_mask_tokenizer_file(model_dir))),
    )
    for topic, name, step in steps:
        try:
            found[name] = step()
        except (SamtokError, OSError) as error:
            findings.append(problem_of(topic, error))
        except (ValueError, TypeError, AttributeError) as error:
            findings.append(Finding(topic, 'problem', f'a file is damaged: {error}',
                                    'fetch or copy it again'))
    manifest = found.pop('', None)
    if manifest is not None:
        findings.append(_origin(manifest))
    if len(found) < len(steps) - 1:
        return findings, None
    model = ModelFiles(**found)
    findings += [_weights(model), _mask_tokenizer(model), _vocabulary(model_dir, model)]
    return findings, model


def added_tokens(model_dir: Path) -> dict[str, int]:
    """Return the ids of the tokens that were added to a text tokenizer, by their text.

    Raises:
        CheckpointError: the files are damaged.
    """
    try:
        if (model_dir / 'tokenizer.json').is_file():
            found = _read_json(model_dir / 'tokenizer.json').get('added_tokens', ())
            return {str(token['content']): int(token['id']) for token in found}
        if (model_dir / 'added_tokens.json').is_file():
            return {str(text): int(i)
                    for text, i in _read_json(model_dir / 'added_tokens.json').items()}
        found = _read_json(model_dir / 'tokenizer_config.json').get('added_tokens_decoder', {})
        return {str(token['content']): int(i) for i, token in found.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError('files of the text tokenizer are damaged', got=repr(error),
                              fix='fetch or copy the model again') from error


class _AddedTokens:
    """Added tokens in the form in which mask words are looked up."""

    def __init__(self, ids: Mapping[str, int]) -> None:
        self._ids = ids

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int | None]:
        """See TextTokenizer."""
        return [self._ids.get(token) for token in tokens]


def _origin(manifest: Manifest) -> Finding:
    if not manifest.files:
        return Finding('origin', 'problem', f'the transfer of {manifest.repo} was not finished',
                       f'run samtok fetch {manifest.repo} --folder DIR again')
    return Finding('origin', 'ok', f'{manifest.repo} at {manifest.commit} ({manifest.revision}); '
                   'samtok fetch --verify compares every byte')


def _weights(model: ModelFiles) -> Finding:
    elements = sum(header.elements for header in model.headers.values())
    kinds = '/'.join(sorted({header.dtype for header in model.headers.values()}))
    return Finding('weights', 'ok', f'{model.config.get("model_type") or "unknown type"}, '
                   f'{elements / 1e6:.1f} million values in {len(model.headers)} tensors, {kinds}')


def _mask_tokenizer(model: ModelFiles) -> Finding:
    sizes = model.mask_tokenizer
    return Finding('mask tokenizer', 'ok', f'{model.mask_tokenizer_elements / 1e6:.1f} million '
                   f'values, image {sizes.image_size} x {sizes.image_size}, codebooks '
                   f'{sizes.codebook_size} x {sizes.codebook_depth}')


def _vocabulary(model_dir: Path, model: ModelFiles) -> Finding:
    """Compare mask words, text tokenizer and embedding rows."""
    sizes = model.mask_tokenizer
    try:
        ids = MaskTokenIds.from_text_tokenizer(
            _AddedTokens(added_tokens(model_dir)),
            MaskVocabulary(sizes.codebook_size, sizes.codebook_depth))
    except SamtokError as error:
        return problem_of('vocabulary', error)
    tables = {name: header for name, header in model.headers.items()
              if name.endswith(_EMBEDDING_NAMES)}
    if not any(name.endswith('embed_tokens.weight') for name in tables):
        return Finding('vocabulary', 'problem', 'the weights hold no token embeddings',
                       'fetch or copy the model again')
    short = [f'{name} has {header.shape[0]}' for name, header in tables.items()
             if header.shape[0] <= ids.end_id]
    if short:
        return Finding('vocabulary', 'problem', f'mask words go up to id {ids.end_id}, but '
                       f'{", ".join(short)} rows', 'use weights and text tokenizer of one model')
    rows = min(header.shape[0] for header in tables.values())
    return Finding('vocabulary', 'ok', f'mask words have the ids {ids.start_id} to {ids.end_id}, '
                   f'embeddings have {rows} rows')


def _config(model_dir: Path) -> dict[str, Any]:
    """Read config.json and check the few values that are used here; null is as good as none.

    Raises:
        CheckpointError: one is of a wrong type.
    """
    config = _read_json(model_dir / 'config.json')
    text = config.get('text_config')
    values = [('model_type', str, config.get('model_type')), ('text_config', dict, text)]
    if text is None or isinstance(text, dict):
        values += [(name, int, (text or config).get(name)) for name in TEXT_SIZES]
    for name, kind, value in values:
        if value is not None and not isinstance(value, kind):
            raise CheckpointError(f'config.json has a wrong {name}', expected=kind.__name__,
                                  got=repr(value), fix='fetch or copy it again')
    return config


def _mask_tokenizer_file(model_dir: Path) -> Path:
    return next(path for name in MASK_TOKENIZERS if (path := model_dir / name).is_file())


def _read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: it is none.
    """
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise CheckpointError(f'{path.name} cannot be read', got=error,
                              fix='fetch or copy it again') from error
    if not isinstance(found, dict):
        raise CheckpointError(f'{path.name} is no JSON object', got=type(found).__name__,
                              fix='fetch or copy it again')
    return found

# SPDX-License-Identifier: Apache-2.0
"""METEOR and CIDEr, by pycocoevalcap with its own word splitting; both run programs in Java."""

import contextlib
import io
import shutil
import subprocess
from collections.abc import Sequence

from samtok_ros.evaluation.metrics.measure import Measure

_NAMES = ('METEOR', 'CIDEr')


def caption_measures(said: Sequence[str], true: Sequence[str]) -> list[Measure]:
    """Compare captions, one of each per image.

    Where a figure cannot be computed its row says why; no value is made up.

    Args:
        said: captions of the model; may be empty texts.
        true: reference captions, in the same order.
    """
    if not said:
        return [Measure(name, None, 0, 'no captions') for name in _NAMES]
    missing = _missing()
    if missing:
        return [Measure(name, None, len(said), f'not computed: {missing}') for name in _NAMES]
    try:
        scores = _scores(said, true)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        reason = ' '.join(f'not computed: Java failed: {error}'.split())[:160]
        return [Measure(name, None, len(said), reason) for name in _NAMES]
    return [Measure(name, score, len(said)) for name, score in zip(_NAMES, scores, strict=True)]


def _missing() -> str:
    """Return what is not installed, empty if all is."""
    try:
        import pycocoevalcap.meteor.meteor  # noqa: F401
    except ImportError:
        return 'pycocoevalcap is not installed'
    return '' if shutil.which('java') else 'java is not installed'


def _scores(said: Sequence[str], true: Sequence[str]) -> tuple[float, float]:
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    with contextlib.redirect_stdout(io.StringIO()):
        found, wanted = (PTBTokenizer().tokenize(
            {number: [{'caption': ' '.join(text.split())}] for number, text in enumerate(texts)})
            for texts in (said, true))
        meteor, _ = Meteor().compute_score(wanted, found)
        cider, _ = Cider().compute_score(wanted, found)
    return float(meteor), float(cider)

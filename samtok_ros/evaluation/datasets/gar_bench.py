# SPDX-License-Identifier: Apache-2.0
"""GAR-Bench-VQA: multiple choice about regions. Source: samtok-spec 4.6."""

import re

from samtok_ros.errors import ConfigError
from samtok_ros.evaluation.datasets.json_items import Item, list_items
from samtok_ros.evaluation.datasets.sample import DataPlace, Sample, Samples, one_file
from samtok_ros.evaluation.datasets.wording import wording
from samtok_ros.language.tasks import lettered

files = one_file('GAR-Bench-VQA.json')
_PROMPT = re.compile(r'<Prompt(\d+)>')
_LETTER = re.compile(r'\(?[A-Z][.):]')


def read(place: DataPlace) -> Samples:
    """Give the questions in the order of the file.

    Raises:
        ConfigError: the file or a field is missing or wrong.
    """
    (path,) = files(place)
    for number, item in enumerate(list_items(path)):
        masks = tuple(item.get('mask_rles', list))
        choices = item.get('choices', list)
        question = wording('multiple_choice', question=item.get('question', str),
                           choices=_options(choices))
        yield Sample(
            str(number), place.image(item.get('image', str)), _with_regions(question, masks, item),
            regions=masks,
            facts={'answer': item.get('answer', str), 'choices': len(choices),
                   'type': item.optional('type', str, '')})


def _options(choices: list) -> str:
    """Return the options one a line, with letters where the file gives them none."""
    texts = [str(choice) for choice in choices]
    named = all(_LETTER.match(text) for text in texts)
    return '\n'.join(texts) if named else lettered(texts)


def _with_regions(question: str, masks: tuple[object, ...], item: Item) -> str:
    """Write <Prompt0> as <region:1>, and so on."""
    def numbered(found: re.Match) -> str:
        if int(found[1]) >= len(masks):
            raise ConfigError(f'{item.place}: the question points at {found[0]}',
                              expected=f'at most {len(masks)} masks are given')
        return f'<region:{int(found[1]) + 1}>'
    return _PROMPT.sub(numbered, question)

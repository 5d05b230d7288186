#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/tasks.md and its pictures: every task is asked, and what is printed is what came.

    .venv/bin/python tools/make_task_page.py

Run it after a change of the prompts, of the embedded model, or of the texts below.
"""

import contextlib
import io
import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from samtok_ros.cli.main import main
from samtok_ros.language.instructions import Instruction, RegionReference
from samtok_ros.language.vlm import VisionLanguageModel
from samtok_ros.pipeline import Pipeline
from samtok_ros.words.vocabulary import MaskVocabulary

ROOT = Path(__file__).resolve().parents[1]
PAGE, PICTURES = ROOT / 'docs' / 'tasks.md', ROOT / 'docs' / 'images' / 'tasks'
TABLE = 'examples/table.jpg'
ASK = '/samtok/ask_region samtok_ros/srv/AskRegion'
GROUND = '/samtok/ground samtok_ros/action/Ground'
BOTTLE = 'BoxPrompt(510, 215, 583, 323)'
BOTTLE_OPTION = '--box 510,215,583,323'
BOTTLE_REGION = '{kind: 3, box: {x_offset: 510, y_offset: 215, width: 73, height: 108}}'
BALL, BALL_OPTION = 'PointPrompt(270, 230)', '--point 270,230'
BALL_REGION = '{kind: 4, point_x: 270.0, point_y: 230.0}'


@dataclass(frozen=True)
class Example:
    """One task as the page shows it.

    Attributes:
        name: of its picture.
        title, text: heading, and what stands under it.
        command: arguments of `samtok`, without image and options of the page.
        code: the same in Python, an expression.
        call: the same over ROS: service or action, and the fields of the request.
    """

    name: str
    title: str
    text: str
    command: str
    code: str
    call: str


EXAMPLES = (
    Example(
        'goal', 'Find what a phrase names',
        'One thing, several, or none. The phrase is tidied as in the training data: lower case, no '
        'full stop.',
        'ground IMAGE "the purple bottle"', "pipeline.ground(image_rgb, 'the purple bottle')",
        f'{GROUND} "{{text: the purple bottle}}"'),
    Example(
        'several', 'Several things',
        'Labels that are equal become one phrase with several regions.',
        'ground IMAGE "all rings"', "pipeline.ground(image_rgb, 'all rings')",
        f'{GROUND} "{{text: all rings}}"'),
    Example(
        'none', 'Nothing',
        'When nothing fits, the answer is exactly this, and over ROS `words.status` is '
        '`NO_TARGET`. A robot must be ready for it.',
        'ground IMAGE "the white mug"', "pipeline.ground(image_rgb, 'the white mug')",
        f'{GROUND} "{{text: the white mug}}"'),
    Example(
        'relative', 'A goal relative to a region',
        '`<region:1>` stands for a region that is pointed at, here by a point on the ball.',
        f'ground IMAGE "the bottle behind <region:1>" {BALL_OPTION}',
        f"pipeline.ground(image_rgb, 'the bottle behind <region:1>', regions=[{BALL}])",
        f"{GROUND} \"{{text: 'the bottle behind <region:1>', regions: [{BALL_REGION}]}}\""),
    Example(
        'question', 'A question about regions',
        'Free words; as many regions as the question needs. The embedded model knows questions '
        'about what a region is, its colour and its shape.',
        f'ask IMAGE "What is <region:1>?" {BOTTLE_OPTION}',
        f"pipeline.ask(image_rgb, 'What is <region:1>?', [{BOTTLE}])",
        f"{ASK} \"{{text: 'What is <region:1>?', regions: [{BOTTLE_REGION}]}}\""),
    Example(
        'region_caption', 'Describe a region', 'One region, no text.',
        f'ask IMAGE --task region_caption {BOTTLE_OPTION}',
        f'pipeline.describe_region(image_rgb, {BOTTLE})',
        f'{ASK} "{{task: region_caption, regions: [{BOTTLE_REGION}]}}"'),
    Example(
        'relation', 'Relation of two regions', 'Two regions, no text.',
        f'ask IMAGE --task relation {BOTTLE_OPTION} {BALL_OPTION}',
        f'pipeline.relate(image_rgb, {BOTTLE}, {BALL})',
        f'{ASK} "{{task: relation, regions: [{BOTTLE_REGION}, {BALL_REGION}]}}"'),
    Example(
        'multiple_choice', 'Multiple choice',
        'A question, two options or more, regions as needed; options may name regions too. '
        '`choice` is the letter of the option.',
        'ask IMAGE "What shape is <region:1>?" --task multiple_choice --item ball --item bottle '
        f'--item bowl --item cone {BOTTLE_OPTION}',
        "pipeline.choose(image_rgb, 'What shape is <region:1>?',\n"
        f"                ['ball', 'bottle', 'bowl', 'cone'], [{BOTTLE}])",
        f"{ASK} \"{{task: multiple_choice, text: 'What shape is <region:1>?', "
        f'items: [ball, bottle, bowl, cone], regions: [{BOTTLE_REGION}]}}"'),
    Example(
        'categories', 'Everything of some categories',
        'Names, some of which may not be there.',
        'ask IMAGE --task categories --item ring --item cone --item mug',
        "pipeline.find_categories(image_rgb, ['ring', 'cone', 'mug'])",
        f'{ASK} "{{task: categories, items: [ring, cone, mug]}}"'),
    Example(
        'brief_caption', 'Caption with masks',
        'The whole picture in words, with a mask behind each thing that is named.',
        'ask IMAGE --task brief_caption', 'pipeline.caption(image_rgb)',
        f'{ASK} "{{task: brief_caption}}"'),
    Example(
        'detailed_caption', 'Detailed caption with masks', 'The same in more words.',
        'ask IMAGE --task detailed_caption', 'pipeline.caption(image_rgb, detailed=True)',
        f'{ASK} "{{task: detailed_caption}}"'),
    Example(
        'scene_graph', 'Scene graph',
        'Triplets of subject, predicate and object, each end with its mask. Every mask in the '
        'answer is a region of its own: a thing in two triplets has two ids, whose masks nearly '
        'agree.',
        'ask IMAGE --task scene_graph', 'pipeline.scene_graph(image_rgb)',
        f'{ASK} "{{task: scene_graph}}"'),
)


class Listener:
    """Keeps what the language model is told, instruction by instruction."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._generate = VisionLanguageModel.generate
        VisionLanguageModel.generate = self._hear(self._generate)

    def _hear(self, generate):
        def heard(model, image_rgb, instruction, *more, **options):
            self.told.append(in_words(instruction, model.vocabulary))
            return generate(model, image_rgb, instruction, *more, **options)

        return heard


def in_words(instruction: Instruction, vocabulary: MaskVocabulary) -> str:
    """Return an instruction as the model reads it."""
    return ''.join(vocabulary.codes_to_words(part.codes) if isinstance(part, RegionReference)
                   else part for part in instruction)


def run_command(command: str, picture: Path) -> tuple[str, dict]:
    """Run a command of the page; return what it prints, and its JSON."""
    arguments = shlex.split(command.replace('IMAGE', TABLE))
    printed = []
    for more in ([], ['--json', '--out', str(picture)]):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            assert main([*arguments, *more]) == 0, command
        printed.append(out.getvalue())
    return printed[0], json.loads(printed[1])


def section(example: Example, listener: Listener, pipeline: Pipeline) -> str:
    """Ask in every way that this program can, and write down what came."""
    picture = PICTURES / f'{example.name}.jpg'
    printed, answer = run_command(example.command, picture)
    told = listener.told[-1]
    names = {'pipeline': pipeline, 'image_rgb': np.asarray(Image.open(TABLE).convert('RGB'))}
    exec(f'from samtok_ros.regions import BoxPrompt, PointPrompt\nanswer = {example.code}', names)
    assert names['answer'].text == answer['text'], example.name
    assert listener.told[-1] == told, example.name
    verb = 'action send_goal' if example.call.startswith(GROUND) else 'service call'
    shown = example.command.replace('IMAGE', TABLE)
    record = {key: value for key, value in answer['record'].items() if value}
    return f"""## {example.title}

{example.text}

![{example.title}](images/tasks/{example.name}.jpg)

Sent, word for word:

```text
{told}
```

Answered:

````text
{answer['text']}
````

Record (what is empty is left out):

```json
{compact(record)}
```

```bash
samtok {shown}
```

```text
{printed.rstrip()}
```

```python
answer = {example.code}
```

```bash
ros2 {verb} {example.call}
```

"""


def compact(record: dict) -> str:
    """Write JSON with a line for each field, phrase and relation."""
    lines = []
    for key, value in record.items():
        if isinstance(value, list):
            items = ',\n    '.join(json.dumps(item, ensure_ascii=False) for item in value)
            lines.append(f'  {json.dumps(key)}: [\n    {items}]')
        else:
            lines.append(f'  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}')
    return '{\n' + ',\n'.join(lines) + '\n}'


def write_page() -> None:
    """Write the page and its pictures."""
    os.chdir(ROOT)
    PICTURES.mkdir(parents=True, exist_ok=True)
    listener = Listener()
    pipeline = Pipeline.load('tabletop')
    head, tail = (ROOT / 'tools' / 'task_page.md').read_text(encoding='utf-8').split('<TASKS>\n')
    sections = ''.join(section(example, listener, pipeline) for example in EXAMPLES)
    PAGE.write_text(head + sections + tail, encoding='utf-8')
    print(PAGE)


if __name__ == '__main__':
    write_page()

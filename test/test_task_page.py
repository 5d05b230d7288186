# SPDX-License-Identifier: Apache-2.0
"""docs/tasks.md: its prompts are those of the table, its records those of its answers."""

import json
import re
from pathlib import Path

import pytest

from samtok_ros.language.prompts import PROMPTS
from samtok_ros.language.tasks import TASKS
from samtok_ros.words.record_reader import read_record
from samtok_ros.words.vocabulary import MaskVocabulary

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / 'docs' / 'tasks.md').read_text(encoding='utf-8')
SPAN = r'<\|mt_start\|><\|mt_0\d{3}\|><\|mt_0\d{3}\|><\|mt_end\|>'
EXAMPLE = re.compile(
    r'^## (?P<title>[^\n]+)\n\n(?P<text>[^\n]+)\n\n!\[[^\n]*\]\((?P<picture>[^\n)]+)\)\n\n'
    r'Sent, word for word:\n\n```text\n(?P<sent>.*?)\n```\n\n'
    r'Answered:\n\n````text\n(?P<answer>.*?)\n````\n\n'
    r'Record \(what is empty is left out\):\n\n```json\n(?P<record>.*?)\n```\n\n'
    r'```bash\n(?P<command>samtok [^\n]+)\n```\n\n', re.DOTALL | re.MULTILINE)
EXAMPLES = [found.groupdict() for found in EXAMPLE.finditer(PAGE)]


def task_of(example):
    """Return the task of an example; `goal` and `question` for those without a name."""
    named = re.search(r'--task (\w+)', example['command'])
    return named[1] if named else {'ground': 'goal', 'ask': 'question'}[
        example['command'].split()[1]]


def test_page_when_read_then_every_task_has_an_example():
    assert {task_of(example) for example in EXAMPLES} == {*TASKS, 'goal', 'question'}
    assert len(EXAMPLES) == PAGE.count('Sent, word for word')


@pytest.mark.parametrize('example', EXAMPLES, ids=[example['title'] for example in EXAMPLES])
def test_example_when_compared_then_words_of_the_table_and_the_record_of_its_answer(example):
    template = PROMPTS[task_of(example)][0]
    fixed = [re.escape(piece) for piece in re.split(r'\{[a-z]+\}', template)]
    assert re.fullmatch('.+'.join(fixed), example['sent'], re.DOTALL)
    asked = len(re.findall(SPAN, example['sent']))
    assert asked == len(re.findall('--(?:box|point|region) ', example['command']))
    record = read_record(example['answer'], MaskVocabulary(),
                         choice_count=example['command'].count('--item '))
    read = json.loads(example['record'])
    assert record.text == read['text']
    assert [[p.text, p.start, p.end, list(p.region_ids)] for p in record.phrases] == [
        list(phrase.values()) for phrase in read.get('phrases', [])]
    assert [vars(relation) for relation in record.relations] == read.get('relations', [])
    assert (record.choice if task_of(example) == 'multiple_choice' else '') == read.get(
        'choice', '')
    assert (ROOT / 'docs' / example['picture']).is_file()


def test_page_when_it_names_wordings_then_the_table_has_them():
    listed = PAGE[PAGE.index('## Wordings for measurements'):]
    names = [name for row in re.findall(r'^\| (`.*?) \|', listed, re.MULTILINE)
             for name in re.findall('`([a-z_*]+)`', row)]
    named = {key for name in names for key in PROMPTS
             if key == name or (name.endswith('*') and key.startswith(name[:-1]))}
    assert all(name.endswith('*') or name in PROMPTS for name in names)
    assert named | set(TASKS) | {'goal', 'question', 'regions_first'} == set(PROMPTS)

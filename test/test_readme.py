# SPDX-License-Identifier: Apache-2.0
"""The README and docs/ are true: code runs, commands exist, tables match, links lead somewhere."""

import ast
import importlib.util
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from samtok_ros.cli.main import build_parser
from samtok_ros.config import SETTINGS_OF_NODE, GroundingSettings, MaskTokenizerSettings
from samtok_ros.config_fields import setting_fields
from samtok_ros.config_files import parameters_markdown
from samtok_ros.model_directory import EMBEDDED_MODEL, MODELS_DIR

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / 'README.md').read_text(encoding='utf-8')
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding='utf-8')
         for path in (ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md')))}
DEADLINE_S = 120.0


def blocks(text, language):
    """Return the fenced code blocks of a page that are marked with a language."""
    return re.findall(rf'^```{language}\n(.*?)^```$', text, re.DOTALL | re.MULTILINE)


def commands(text):
    """Return the lines of all shell blocks, comments cut off."""
    lines = '\n'.join(blocks(text, 'bash')).splitlines()
    return [line.split('  #')[0].strip() for line in lines if line.strip()]


def section(title):
    """Return what stands under a heading of the README, without its heading."""
    return re.search(rf'^## {title}\n(.*?)(?=^## |\Z)', README, re.DOTALL | re.MULTILINE)[1]


def rows(text):
    """Return the cells of all table rows, head rows left out."""
    table = [line for line in text.splitlines() if line.startswith('|')]
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in table]
    heads = {place - 1 for place, row in enumerate(cells) if set(''.join(row)) == {'-'}}
    return [row for place, row in enumerate(cells)
            if place not in heads and set(''.join(row)) != {'-'}]


@pytest.fixture(params=['tiny', EMBEDDED_MODEL])
def model(request):
    """A small random model, and the embedded one where its weights are there."""
    if request.param == 'tiny':
        return str(request.getfixturevalue('tiny_model_dir'))
    if not (MODELS_DIR / EMBEDDED_MODEL / 'model.safetensors').exists():
        pytest.skip('the weights of the embedded model are not there')
    return EMBEDDED_MODEL


def test_ten_lines_of_python_when_run_then_they_answer_and_write_the_picture(
        model, tmp_path, monkeypatch):
    (code,) = blocks(section('Ten lines of Python without ROS'), 'python')
    assert len([line for line in code.splitlines() if line and 'import' not in line]) <= 10
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code.replace("'tabletop'", repr(model)).replace('examples/', f'{ROOT}/examples/'), names)
    assert (tmp_path / 'found.png').stat().st_size > 0
    if model == EMBEDDED_MODEL:
        assert [region.label for region in names['answer'].regions] == ['purple bottle']


def test_planner_code_when_compared_then_it_is_what_the_example_holds():
    example = (ROOT / 'examples' / 'planner.py').read_text(encoding='utf-8')
    excerpts = blocks(section('Connect a grasp planner'), 'python')
    assert len(excerpts) == 2
    for excerpt in excerpts:
        assert excerpt in example


@contextmanager
def running(command, environment, log):
    """Run a program; at the end it is asked to stop."""
    with log.open('wb') as stream, subprocess.Popen(
            [str(part) for part in command], stdout=stream, stderr=stream, env=environment,
            cwd=log.parent) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)


def test_three_terminals_when_run_then_the_planner_measures_the_target(tmp_path):
    pytest.importorskip('rclpy', reason='ROS 2 (rclpy) is not installed')
    from samtok_ros.demo.processes import find_program, isolated_environment

    environment = isolated_environment()
    examples = ROOT / 'examples'
    nodes = [find_program('perception'), '--ros-args', '-p', 'autostart:=true',
             '-p', 'model.backend:=fake']
    camera = [sys.executable, examples / 'camera.py', examples / 'table.jpg']
    planner = [sys.executable, examples / 'planner.py', 'one bottle']
    logs = {name: tmp_path / f'{name}.log' for name in ('nodes', 'camera', 'planner')}
    with (running(nodes, environment, logs['nodes']),
          running(camera, environment, logs['camera']),
          running(planner, environment, logs['planner'])):
        deadline = time.monotonic() + DEADLINE_S
        while not re.search(r'\d+ px of the target, 0\.80 m away', logs['planner'].read_text()):
            assert time.monotonic() < deadline, {k: v.read_text() for k, v in logs.items()}
            time.sleep(0.1)
    assert 'Traceback' not in ''.join(log.read_text() for log in logs.values())


@pytest.mark.parametrize('page', PAGES)
def test_samtok_command_when_printed_then_the_command_line_knows_it(page):
    for line in commands(PAGES[page]):
        if line.startswith('samtok '):
            build_parser().parse_args(shlex.split(line)[1:])


def test_every_subcommand_when_listed_then_the_readme_names_it():
    (choices,) = [action.choices for action in build_parser()._actions if action.choices]
    text = section('Command line')
    assert [name for name in choices if f'samtok {name}' not in text] == []


@pytest.mark.parametrize('page', PAGES)
def test_make_target_and_program_when_printed_then_they_exist(page):
    makefile = (ROOT / 'Makefile').read_text(encoding='utf-8')
    cmake = (ROOT / 'CMakeLists.txt').read_text(encoding='utf-8')
    text = '\n'.join(commands(PAGES[page]))
    for target in re.findall(r'\bmake (\w+)', text):
        assert re.search(rf'^{target}:', makefile, re.MULTILINE), target
    for program in re.findall(r'\.venv/lib/samtok_ros/(\w+)', text):
        assert f'install_program({program} ' in cmake
    for path in re.findall(r'(?:examples|config)/[\w.-]+', text):
        assert (ROOT / path).is_file(), path
    known = {field.name for settings in SETTINGS_OF_NODE.values()
             for field in setting_fields(settings)}
    assert set(re.findall(r'-p ([\w.]+):=', PAGES[page])) <= known


def test_launch_arguments_when_named_then_the_launch_file_has_them():
    launch = (ROOT / 'launch' / 'perception.launch.py').read_text(encoding='utf-8')
    text = section('Run with ROS 2')
    sentence = re.search(r'lists the arguments:(.*?)\n\n', text, re.DOTALL)[1]
    named = set(re.findall(r'`(\w+)`', sentence)) | set(
        re.findall(r'launch\.py (\w+):=', text))
    assert len(named) > 5
    assert [name for name in sorted(named) if f"'{name}': {{" not in launch] == []


def test_parameter_tables_when_compared_then_they_are_what_the_settings_say():
    shared = parameters_markdown(GroundingSettings).splitlines()
    own = parameters_markdown(MaskTokenizerSettings).splitlines()
    own = shared[:2] + [line for line in own[2:] if line not in shared]
    for node, wanted in (('grounding', shared), ('mask_tokenizer', own)):
        table = '\n'.join(wanted)
        assert f'<!-- parameters: {node} -->\n\n{table}\n\n' in README, f'write this:\n{table}'
    missing = {f.name for f in setting_fields(GroundingSettings)} - {
        f.name for f in setting_fields(MaskTokenizerSettings)}
    assert {name if '.' not in name else name.split('.')[0] + '.*' for name in missing} == {
        'max_rate_hz', 'limits.*'}, 'the sentence between the tables names these'


def test_topic_tables_when_compared_then_they_name_what_the_nodes_have():
    listed = {row[0].strip('`'): row[1].strip('`')
              for row in rows(section('What goes in and what comes out'))}
    source = '\n'.join(path.read_text(encoding='utf-8')
                       for path in sorted((ROOT / 'samtok_ros' / 'nodes').glob('*.py'))
                       if not path.name.startswith('demo'))
    made = re.findall(r"(?:create_output|RawSubscription)\((?:self, )?(\w+), '([\w/]+)'", source)
    assert len(made) == 6
    for kind, topic in made:
        assert listed[topic].split('/')[1] == kind
    expected = {topic for _, topic in made} | {'image', 'image/compressed', '/diagnostics'}
    # mask_words is made by one node and read by the other.
    assert set(listed) == expected
    assert all(f"'{topic}'" in source for topic in listed)


def test_accuracy_table_when_compared_then_its_bars_are_those_of_the_evaluation():
    from samtok_ros.evaluation.report import BARS

    listed = {row[0].split('`')[1]: row[1] for row in rows(section(
        'Accuracy of the embedded model')) if row[0].startswith('`')}
    assert listed == {
        name: f'{"at least" if bar.at_least else "below"} {bar.limit:.2f}'
        for name, bar in BARS.items()}


@pytest.mark.parametrize('page', PAGES)
def test_link_when_followed_then_something_is_there(page):
    text = re.sub(r'```.*?```', '', PAGES[page], flags=re.DOTALL)
    headings = {re.sub(r'[^\w -]', '', line).strip().lower().replace(' ', '-')
                for line in re.findall(r'^#+ (.*)$', text, re.MULTILINE)}
    for target in re.findall(r'\]\(([^)\s]+)\)', text):
        if target.startswith('https://'):
            continue
        path, _, anchor = target.partition('#')
        assert not path or (ROOT / page).parent.joinpath(path).is_file(), target
        assert not anchor or path or anchor in headings, target


def test_file_tree_when_compared_then_it_names_every_folder_of_the_package():
    tree = section('Where things are')
    tree = re.search(r'^```\n(.*?)^```$', tree, re.DOTALL | re.MULTILINE)[1]
    named = {name.strip('/') for line in tree.splitlines()
             for name in re.findall(r'[\w./]+', line.split('  ')[0])}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    folders = {f'samtok_ros/{path.name}' for path in (ROOT / 'samtok_ros').iterdir()
               if path.is_dir() and not path.name.startswith('__')}
    assert folders <= named


def texts_of_sources():
    """Return the words of every text in the code, one text a line, pieces of one joined."""
    texts = []
    for folder in ('samtok_ros', 'tools'):
        for path in sorted((ROOT / folder).rglob('*.py')):
            for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
                if isinstance(node, ast.JoinedStr):
                    texts.append(' '.join(part.value for part in node.values
                                          if isinstance(part, ast.Constant)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(node.value)
    return '\n'.join(words_of(text) for text in texts)


def words_of(text):
    """Return the words of a text with single blanks between them."""
    return ' '.join(re.findall(r'\w+', text.lower()))


def test_message_when_explained_then_the_code_still_says_it():
    """Of each message a piece between dots is in the code, or four words of it in a row."""
    known = texts_of_sources()
    messages = re.findall(r'\*\*`([^`]+)`', PAGES['docs/troubleshooting.md'])
    assert len(messages) > 30
    lost = []
    for message in messages:
        pieces = [words_of(piece).split() for piece in message.split('...')]
        runs = [' '.join(words[place:place + 4]) for words in pieces if words
                for place in range(max(1, len(words) - 3))]
        if not any(run in known for run in runs):
            lost.append(message)
    assert lost == []


@pytest.mark.parametrize('name', ['camera', 'planner'])
def test_example_when_its_use_is_shown_then_it_names_the_example(name):
    path = ROOT / 'examples' / f'{name}.py'
    assert importlib.util.spec_from_file_location(name, path) is not None
    text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8')))
    assert f'python examples/{name}.py' in text

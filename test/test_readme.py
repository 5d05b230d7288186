# SPDX-License-Identifier: Apache-2.0
"""The README and docs/ are true: code runs, commands exist, tables match, links lead somewhere."""

import ast
import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from samtok_ros.bring_up.arguments import ARGUMENTS
from samtok_ros.cli.main import build_parser
from samtok_ros.interface.ros_names import CALLS, TOPICS
from samtok_ros.model_directory import EMBEDDED_MODEL, MODELS_DIR
from samtok_ros.settings.fields import setting_fields
from samtok_ros.settings.files import parameters_page
from samtok_ros.settings.nodes import SETTINGS_OF_NODE

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
    example = (ROOT / 'examples' / 'grasp_planner.py').read_text(encoding='utf-8')
    text = section('Connect your grasp planner')
    excerpts = blocks(text, 'python')
    assert len(excerpts) == 4
    for excerpt in excerpts:
        assert excerpt in example
    # test/ros/test_grasp_planner_example.py runs it with these very arguments.
    (planner,) = (line for line in commands(text) if 'planner.py' in line)
    test = (ROOT / 'test' / 'ros' / 'test_grasp_planner_example.py').read_text(encoding='utf-8')
    assert ', '.join(repr(word) for word in shlex.split(planner)[2:]) in test


@pytest.mark.parametrize('page', PAGES)
def test_samtok_command_when_printed_then_the_command_line_knows_it(page):
    for line in commands(PAGES[page]):
        if line.startswith(('samtok ', '.venv/bin/samtok ')) and not line.endswith('--help'):
            build_parser().parse_args(shlex.split(line.partition(' > ')[0])[1:])


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
    for path in re.findall(r'(?:examples|config)/[\w./-]+', text):
        assert (ROOT / path).is_file(), path
    known = {field.name for settings in SETTINGS_OF_NODE.values()
             for field in setting_fields(settings)}
    assert set(re.findall(r'-p ([\w.]+):=', PAGES[page])) <= known


def test_launch_arguments_when_named_then_the_launch_files_have_them():
    known = {argument.name for argument in ARGUMENTS}
    sentence = re.search(r'lists the arguments:(.*?)\n\n', section('Run with ROS 2'), re.DOTALL)[1]
    named = set(re.findall(r'`(\w+)`', sentence))
    assert len(named) > 5
    assert named <= known
    replay = (ROOT / 'launch' / 'replay.launch.py').read_text(encoding='utf-8')
    for page in PAGES.values():
        for line in '\n'.join(blocks(page, 'bash')).replace('\\\n', ' ').splitlines():
            given = set(re.findall(r' (\w+):=', line))
            if 'perception.launch.py' in line:
                assert given <= known, line
            elif 'replay.launch.py' in line:
                assert [name for name in given - known if f"'{name}': {{" not in replay] == [], line


def test_parameter_page_when_compared_then_it_is_what_the_settings_say():
    assert PAGES['docs/parameters.md'] == parameters_page(), (
        'run: python -m samtok_ros.settings.files config')
    names = {field.name for settings in SETTINGS_OF_NODE.values()
             for field in setting_fields(settings)}
    named = set(re.findall(r'`([a-z_.]+)`', section('Parameters')))
    assert named
    assert named <= names


def test_topic_tables_when_compared_then_they_name_what_the_nodes_have():
    listed = {row[0].strip('`'): (row[1].strip('`'), row[2])
              for row in rows(section('What goes in and what comes out'))}
    assert listed == {topic.name: (topic.type.replace('/msg/', '/'), topic.quality)
                      for topic in TOPICS}


def test_call_table_when_compared_then_it_names_what_the_nodes_serve():
    listed = {row[0].strip('`'): row[1].replace('`', '')
              for row in rows(section('Actions and services'))}
    kinds = {'action': 'action', 'srv': 'service'}
    assert listed == {
        call.name: f'{kinds[kind]} {package}/{name}' for call in CALLS
        for package, kind, name in [call.type.split('/')]}


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


@pytest.mark.parametrize('name', [
    'camera', 'grasp_planner', 'adapters/foundation_pose', 'adapters/grasp_networks',
    'adapters/moveit_collision_object'])
def test_example_when_its_use_is_shown_then_it_names_the_example(name):
    path = ROOT / 'examples' / f'{name}.py'
    assert importlib.util.spec_from_file_location(name, path) is not None
    text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8')))
    assert f'python examples/{name}.py' in text

# SPDX-License-Identifier: Apache-2.0
"""`samtok eval TASK` with the embedded model, alone and in two processes."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

from samtok_ros.cli import eval_datasets
from samtok_ros.cli.main import build_parser, main
from samtok_ros.evaluation.datasets.sample import Candidates
from samtok_ros.evaluation.datasets.tasks import TASKS

SAMTOK = Path(sys.executable).with_name('samtok')
TABLE = Path(__file__).resolve().parents[1] / 'examples' / 'table.jpg'
# Drawn by hand on the picture.
BOTTLE = [[557, 219, 569, 214, 581, 222, 579, 232, 576, 238, 583, 252, 581, 264, 564, 313, 552, 320,
           535, 322, 512, 307, 509, 295, 527, 246, 540, 236, 555, 236]]
BOWL = [[445, 160, 450, 145, 470, 137, 495, 136, 520, 145, 533, 162, 530, 178, 515, 193, 495, 202,
         475, 200, 458, 190]]


@pytest.fixture
def goals(tmp_path):
    """Three goals about the example picture, one of them for nothing that is there."""
    path = tmp_path / 'gres_val.json'
    path.write_text(json.dumps([
        {'image': TABLE.name, 'phrase': 'The purple bottle', 'segmentation': BOTTLE},
        {'image': TABLE.name, 'phrase': 'the black bowl', 'segmentation': BOWL},
        {'image': TABLE.name, 'phrase': 'the green mug', 'segmentation': []}]))
    return path


@pytest.mark.parametrize(('task', 'plain', 'thinking'), [('gres', 128, 1024), ('gcg', 512, 2048)])
def test_options_when_the_model_thinks_then_answers_have_room_for_it(task, plain, thinking):
    common = ['eval', task, '--data', 'x']
    for more, most in (([], plain), (['--thinks'], thinking),
                       (['--thinks', '--max-new-tokens', '7'], 7)):
        arguments = build_parser().parse_args([*common, *more])
        assert eval_datasets._asking(arguments, TASKS[task]).limits.max_new_tokens == most


def options(goals, *more):
    return ['eval', 'gres', '--data', str(goals), '--images', str(TABLE.parent), '--device', 'cpu',
            '--out', str(goals.parent / 'run'), *more]


def check(run):
    report = json.loads((run / 'report.json').read_text())
    measures = {name: one['value'] for name, one in report['measures'].items()}
    assert (measures['N-acc'], measures['T-acc'], report['asked']) == (100.0, 100.0, 3)
    assert measures['gIoU'] > 90
    return measures


def test_eval_when_run_by_the_embedded_model_then_figures_files_and_resuming_are_right(
        goals, capsys):
    assert main(options(goals)) == 0
    run = goals.parent / 'run'
    check(run)
    said = capsys.readouterr()
    assert '3 of 3 samples asked, 0 skipped' in said.out
    assert '3/3' in said.err
    lines = (run / 'results.0-of-1.jsonl').read_bytes()
    # Nothing is left to ask, so not even the model is loaded; the figures are written again.
    (run / 'report.json').unlink()
    assert main(options(goals)) == 0
    assert (run / 'results.0-of-1.jsonl').read_bytes() == lines
    check(run)
    assert main(['eval', 'merge', str(run)]) == 0
    assert main(options(goals, '--max-new-tokens', '9')) == 2
    assert "its 'options' is different" in capsys.readouterr().err


def test_eval_when_two_processes_share_then_each_asks_its_part_and_one_reports(goals):
    pytest.importorskip('accelerate', reason='accelerate is not installed: one process only')
    done = subprocess.run(
        [sys.executable, '-P', '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node',
         '2', str(SAMTOK), *options(goals)],
        capture_output=True, text=True, timeout=280, check=False, cwd=goals.parent)
    assert done.returncode == 0, done.stderr
    run = goals.parent / 'run'
    check(run)
    numbers = [[json.loads(line)['number'] for line in (run / name).open()]
               for name in ('results.0-of-2.jsonl', 'results.1-of-2.jsonl')]
    assert numbers == [[0, 2], [1]]
    assert '3 of 3 samples asked' in done.stdout


@pytest.mark.parametrize(('arguments', 'words'), [
    (['--data', '/nowhere'], 'got no such folder'),
    (['--data', '/nowhere', '--model', 'other/model'], 'got no such folder')])
def test_eval_when_data_is_missing_then_it_says_so_before_a_model_is_loaded(
        capsys, arguments, words):
    assert main(['eval', 'gres', *arguments]) == 2
    assert words in capsys.readouterr().err


def test_eval_when_model_is_missing_then_nothing_is_left_behind(goals, capsys):
    assert main(options(goals, '--model', 'other/model')) == 2
    assert 'samtok fetch other/model' in capsys.readouterr().err
    assert not (goals.parent / 'run').exists()


def test_eval_when_the_phrase_model_is_missing_then_it_says_so(tmp_path, capsys):
    assert main(['eval', 'gcg', '--data', str(tmp_path), '--phrase-model', '/nowhere']) == 2
    assert 'there is no phrase model at /nowhere' in capsys.readouterr().err


def test_tasks_when_listed_then_command_and_table_name_the_same():
    assert eval_datasets._HELP.keys() == TASKS.keys()
    for value in Candidates:
        build_parser().parse_args(['eval', 'psg', '--data', 'x', '--candidates', value])

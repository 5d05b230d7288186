# SPDX-License-Identifier: Apache-2.0
"""The `samtok` command, run in this process on the tiny model."""
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hand_scenes import store_with
from PIL import Image

from samtok_ros.cli import main as entry
from samtok_ros.cli.files import load_image, save_mask
from samtok_ros.cli.main import build_parser, main
from samtok_ros.cli.spans import read_words
from samtok_ros.errors import SpanError
from samtok_ros.evaluation import heldout_scenes
from samtok_ros.words.vocabulary import MaskVocabulary

ONE = '<|mt_start|><|mt_0001|><|mt_0258|><|mt_end|>'
TWO = '<|mt_start|><|mt_0003|><|mt_0260|><|mt_end|>'
LIST = (f'```json\n[{{"mask_2d": "{ONE}", "label": "the red mug"}},\n'
        f'{{"mask_2d": "{TWO}", "label": "the ball"}}]\n```')


@pytest.fixture
def mask_file(tmp_path, image_rgb):
    mask = np.zeros(image_rgb.shape[:2], np.bool_)
    mask[80:140, 100:180] = True
    path = tmp_path / 'mask.png'
    save_mask(path, mask)
    return path


@pytest.fixture
def saying(monkeypatch, make_say):
    """Make every model that is loaded want to say a text; returns what it was asked."""
    from samtok_ros.pipeline import Pipeline

    load, asked = Pipeline.load, []

    def speak(text):
        def load_speaking(*arguments):
            pipeline = load(*arguments)
            tokenizer = pipeline.language_model._processor.tokenizer

            def hear(module, _, keywords):
                asked.append(tokenizer.decode(keywords['input_ids'][0]))

            make_say(pipeline, text)
            pipeline.language_model._model.register_forward_pre_hook(hear, with_kwargs=True)
            return pipeline

        monkeypatch.setattr(Pipeline, 'load', load_speaking)
        return asked

    return speak


def run(*arguments):
    return main([str(argument) for argument in arguments])


def failure(capsys, *arguments):
    """Run a command that must fail; return its one line."""
    assert run(*arguments) == 2
    shown = capsys.readouterr()
    assert shown.err.count('\n') == 1
    assert shown.err.startswith('samtok: error: ')
    return shown.err


def test_ground_when_regions_are_found_then_text_words_and_picture(
    saying, tiny_model_dir, picture, tmp_path, capsys
):
    saying(LIST)
    out = tmp_path / 'overlay.png'
    assert run('ground', picture, 'the red mug', '--model', tiny_model_dir, '--out', out) == 0
    said, first, second = capsys.readouterr().out.splitlines()
    assert said == 'the red mug, the ball'
    assert first.startswith(f'1  the red mug  {ONE}  score 1.00  ')
    assert second.startswith(f'2  the ball  {TWO}  score 1.00  ')
    assert load_image(out).shape == (240, 320, 3)


def test_ground_when_json_is_wanted_then_every_field(saying, tiny_model_dir, picture, capsys):
    saying(LIST)
    assert run('ground', picture, 'things', '--model', tiny_model_dir, '--json') == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer['text'] == LIST
    assert answer['finish_reason'] == 'stop'
    assert answer['malformed'] == []
    assert answer['tokenizer_id'].startswith(f'{tiny_model_dir.name}@')
    first, second = answer['regions']
    assert (first['id'], first['label'], first['words'], first['codes']) == (
        1, 'the red mug', ONE, [1, 2])
    assert second['codes'] == [3, 4]
    assert set(first) == {'id', 'label', 'words', 'codes', 'score', 'mask_score', 'box_xyxy',
                          'area_px'}


def test_ground_when_nothing_fits_then_no_target_and_status_0(
    saying, tiny_model_dir, picture, capsys
):
    saying('No target.')
    assert run('ground', picture, 'a boat', '--model', tiny_model_dir) == 0
    assert capsys.readouterr().out == 'No target.\n'


def test_ask_when_region_is_given_as_words_or_mask_then_model_reads_words(
    saying, tiny_model_dir, picture, mask_file, capsys
):
    asked = saying('It is red.')
    assert run('encode', picture, mask_file, '--model', tiny_model_dir) == 0
    words = capsys.readouterr().out.strip()
    assert run('ask', picture, 'Is <region:1> left of <region:2>?', '--region', ONE, '--region',
               mask_file, '--model', tiny_model_dir) == 0
    assert capsys.readouterr().out == 'It is red.\n'
    assert f'Is {ONE} left of {words}?' in asked[0]


def test_ask_when_one_option_names_two_regions_then_both_count(
        saying, tiny_model_dir, picture, capsys):
    asked = saying('The mug is left of the ball.')
    assert run('ask', picture, '--task', 'relation', '--region', ONE + TWO, '--model',
               tiny_model_dir) == 0
    assert ONE in asked[0] and TWO in asked[0]
    line = failure(capsys, 'ask', picture, '--task', 'region_caption', '--region', ONE + TWO,
                   '--zoom-below', '0.3', '--model', tiny_model_dir)
    assert 'does not take 2 regions' in line


def test_decode_when_its_folder_is_a_file_then_said_at_once(picture, mask_file, capsys):
    line = failure(capsys, 'decode', picture, ONE, '--out', mask_file, '--model', '/no/such/model')
    assert 'is a file' in line


def test_encode_and_decode_when_run_in_turn_then_masks_of_those_words(
    tiny_model_dir, picture, mask_file, tmp_path, capsys
):
    assert run('encode', picture, mask_file, mask_file, '--model', tiny_model_dir) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0] == lines[1]
    MaskVocabulary().words_to_codes(lines[0])
    out = tmp_path / 'new' / 'masks'
    assert run('decode', picture, '\n'.join(lines), ONE, '--out', out, '--model',
               tiny_model_dir) == 0
    assert [path.name for path in sorted(out.iterdir())] == [
        'mask-01.png', 'mask-02.png', 'mask-03.png']
    assert len(capsys.readouterr().out.splitlines()) == 3
    first, second = (np.asarray(Image.open(out / f'mask-0{n}.png')) for n in (1, 2))
    assert first.shape == (240, 320)
    assert set(np.unique(first)) <= {0, 255}
    assert np.array_equal(first, second)


def test_decode_when_run_again_with_fewer_words_then_no_masks_of_the_first_run_stay(
    tiny_model_dir, picture, tmp_path, capsys
):
    for name in ('mask-100.png', 'mask-7.png', 'mask-007.png', 'mask-02.png.txt', 'my-mask-02.png'):
        (tmp_path / name).touch()
    assert run('decode', picture, ONE, ONE, ONE, '--out', tmp_path, '--model', tiny_model_dir) == 0
    capsys.readouterr()
    assert run('decode', picture, ONE, '--out', tmp_path, '--model', tiny_model_dir) == 0
    assert sorted(path.name for path in tmp_path.glob('*mask*')) == [
        'mask-007.png', 'mask-01.png', 'mask-02.png.txt', 'mask-7.png', 'my-mask-02.png']
    assert [line.split('  removed')[0] for line in capsys.readouterr().out.splitlines()[1:]] == [
        str(tmp_path / 'mask-02.png'), str(tmp_path / 'mask-03.png')]


@pytest.mark.parametrize(('arguments', 'text'), [
    (('ground', 'nowhere.png', 'mug'), 'there is no file nowhere.png'),
    (('ground', '{picture}', 'mug', '--out', 'a.gif'), "got '.gif'"),
    (('ground', '{picture}', 'mug', '--out', 'no/such/a.png'), 'there is no folder no/such'),
    (('ground', '{text}', 'mug'), 'cannot be read as an image'),
    (('ground', '{folder}', 'mug'), 'is a folder: expected a file. Name a picture in it'),
    (('ground', '{picture}', 'mug', '--model', '/nowhere'), 'there is no such model'),
    (('ground', '{picture}', ' ', '--model', '{model}'), 'goal is empty'),
    (('ground', '{picture}', 'mug', '--device', 'cuda:99', '--model', '{model}'),
     'got device cuda:99'),
    (('ask', '{picture}', 'What is it?', '--region', 'mask9.png', '--model', '{model}'),
     "region 'mask9.png' is neither mask words nor a file"),
    (('ask', '{picture}', 'What is <region:2>?', '--region', ONE, '--model', '{model}'),
     'question names <region:2>'),
    (('encode', '{picture}', '{small}'), 'expected 240 x 320 pixels, got 4 x 5'),
    (('decode', '{picture}', 'the mug', '--out', '.', '--model', '{model}'),
     'there are no mask words'),
    (('decode', '{picture}', ONE[:-1], '--out', '.', '--model', '{model}'),
     'malformed span at character 0'),
    (('eval', 'tabletop', '--out', 'no/such/file.json'), 'there is no folder no/such'),
    (('train', 'tokenizer', '--scenes', '{small}', '--run', '{small}.run'), 'no scenes in'),
])
def test_command_when_input_is_bad_then_one_line_and_status_2(
    arguments, text, capsys, picture, tmp_path, tiny_model_dir
):
    places = {'picture': picture, 'folder': tmp_path, 'text': tmp_path / 'text.png',
              'small': tmp_path / 'small.png', 'model': tiny_model_dir}
    places['text'].write_text('no image')
    Image.fromarray(np.full((4, 5), 255, np.uint8)).save(places['small'])
    assert text in failure(capsys, *(one.format(**places) for one in arguments))


def test_command_when_interrupted_then_status_130(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(entry.ground, 'run', interrupted)
    assert run('ground', 'a.png', 'mug') == 130
    assert capsys.readouterr().err == 'samtok: interrupted\n'


def test_command_when_it_returns_a_status_then_that(monkeypatch):
    monkeypatch.setattr(entry.demo, 'run', lambda _: 1)
    assert run('demo') == 1


@pytest.mark.parametrize('arguments', [
    [], ['fly'], ['ground', 'a.png'], ['decode', 'a.png', ONE],
    ['eval', 'tabletop', '--seed', '-1'], ['eval', 'tabletop', '--scenes', '0'],
    ['ground', 'a.png', 'mug', '--dtype', 'int8'],
    ['train', 'tokenizer', '--scenes', 'a', '--run', 'b', '--hours', 'nan']])
def test_command_when_options_are_wrong_then_usage_and_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    assert stopped.value.code == 2
    assert 'usage: samtok' in capsys.readouterr().err


def test_parser_when_asked_for_help_then_every_command_has_a_line():
    text = build_parser().format_help()
    for name in ('ground', 'ask', 'encode', 'decode', 'train', 'eval', 'make-bag', 'demo'):
        assert f'\n    {name} ' in text


def test_help_when_shown_then_no_heavy_package_is_loaded():
    code = ('import sys\nfrom samtok_ros.cli.main import main\n'
            'try: main(["--help"])\nexcept SystemExit as stop: assert stop.code == 0\n'
            'heavy = ("torch", "transformers", "mujoco", "cv2", "numpy", "PIL")\n'
            'print([name for name in heavy if name in sys.modules])')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == '[]'
    assert 'ground' in done.stdout


def test_words_when_pasted_with_text_around_then_all_spans_in_order():
    assert read_words(LIST, MaskVocabulary()) == [(1, 2), (3, 4)]
    with pytest.raises(SpanError, match='malformed span at character 45'):
        read_words(f'{ONE} {ONE[:-5]}', MaskVocabulary())


def test_eval_when_run_then_table_and_file(saying, tiny_model_dir, tmp_path, capsys, monkeypatch):
    from samtok_ros.evaluation import tabletop
    from samtok_ros.language.generation import GenerationLimits

    # The random model never ends an answer by itself.
    monkeypatch.setattr(tabletop, 'LIMITS', GenerationLimits(max_new_tokens=2, max_masks=1))
    monkeypatch.setattr(heldout_scenes, '_SHARD_SCENES', 2)
    store_with(tmp_path / 'scenes', 2, seed=0)
    out = tmp_path / 'report.json'
    assert run('eval', 'tabletop', '--model', tiny_model_dir, '--scenes', 1, '--out', out,
               '--cache', tmp_path / 'scenes') == 0
    written = json.loads(out.read_text())
    assert written['mask_miou']['count'] == 3
    assert written['region_qa']['count'] == 2
    assert written['no_target_recall'] == {'value': 0.0, 'count': 1, 'bar': '>= 0.90',
                                           'holds': False}
    assert (written['scenes'], written['seed']) == (1, 0)
    assert written['model']['device'] == 'cpu'
    assert set(written['model']['weights']) == {'model.safetensors', 'mask_tokenizer.safetensors'}
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ['figure', 'value', 'count', 'bar', 'holds']
    assert lines[-1].startswith('1 scenes, seed 0, ')


def test_train_tokenizer_when_run_then_options_reach_the_recipe(tmp_path, monkeypatch, capsys):
    from samtok_ros.training import train_tokenizer as training

    store_with(tmp_path / 'scenes', 2)
    seen = SimpleNamespace()

    def train(source, validation, run_directory, budget, config, device):
        vars(seen).update(locals())
        return run_directory.path / 'model'

    monkeypatch.setattr(training, 'train_tokenizer', train)
    assert run('train', 'tokenizer', '--scenes', tmp_path / 'scenes', '--run', tmp_path / 'run',
               '--hours', 0.5, '--images', 3, '--seed', 9, '--device', 'cpu') == 0
    assert (len(seen.source), seen.validation, seen.device) == (2, None, 'cpu')
    assert (seen.budget.wall_s, seen.config.images, seen.config.seed) == (1800, 3, 9)
    assert not seen.config.autocast
    assert capsys.readouterr().out == f'mask tokenizer in {tmp_path / "run" / "model"}\n'


def test_train_vlm_when_run_then_options_reach_the_recipe(tmp_path, monkeypatch, capsys):
    from samtok_ros.training import vlm_stages

    seen = []
    monkeypatch.setattr(vlm_stages, 'train_all_stages', lambda *given: (
        seen.extend(given), given[0].run_dir / 'out')[1])
    assert run('train', 'vlm', '--scenes', 'a', '--tokenizer', 'b', '--run', tmp_path,
               '--validation', 'c', '--hours', 3, '--processes', 2, '--seed', 9, '--device',
               'cpu') == 0
    inputs, config = seen
    assert inputs == vlm_stages.VlmInputs(Path('a'), Path('b'), tmp_path, Path('c'))
    assert config == vlm_stages.recipe(3.0, 'cpu', 2, 9)
    assert capsys.readouterr().out == f'model in {tmp_path / "out"}\n'


def test_train_scenes_when_run_then_options_reach_the_renderer(tmp_path, monkeypatch):
    from samtok_ros.scenes import generate

    seen = []
    monkeypatch.setattr(heldout_scenes, 'check_renderer', lambda: None)
    monkeypatch.setattr(generate, 'generate_scenes', lambda *given: seen.extend(given))
    assert run('train', 'scenes', '--out', tmp_path, '--count', 7, '--split', 'heldout',
               '--seed', 2, '--processes', 3) == 0
    assert seen == [tmp_path, 7, 'heldout', 2, 3]

# SPDX-License-Identifier: Apache-2.0
"""Runs over whole data sets: results, resuming, sharing, figures, the page of worst cases."""
import json
from dataclasses import replace
from html.parser import HTMLParser

import dataset_samples as data
import numpy as np
import pytest

from samtok_ros.cli.files import load_image
from samtok_ros.errors import ConfigError, DeviceError
from samtok_ros.evaluation.datasets import gres, merging
from samtok_ros.evaluation.datasets.asking import Asking
from samtok_ros.evaluation.datasets.manifest import run_manifest
from samtok_ros.evaluation.datasets.result import Result
from samtok_ros.evaluation.datasets.run_directory import RunDirectory, Share
from samtok_ros.evaluation.datasets.running import Work, run_samples
from samtok_ros.evaluation.datasets.sample import Candidates
from samtok_ros.evaluation.datasets.tasks import TASKS
from samtok_ros.evaluation.datasets.worst_cases import (
    MISSED_RGB,
    RIGHT_RGB,
    WRONG_RGB,
    agreement_picture,
    worst_results,
)
from samtok_ros.evaluation.metrics.phrases import EqualPhrases
from samtok_ros.image.zoom import ZoomRule
from samtok_ros.language.generation import GenerationLimits
from samtok_ros.language.instructions import Round
from samtok_ros.regions import Answer

SCRIPTS = {
    'gres': (data.gres, data.GRES_SCRIPT), 'refcoco': (data.refcoco, data.REFCOCO_SCRIPT),
    'multi-round': (data.multi_round, data.MULTI_ROUND_SCRIPT),
    'grounding-suite': (data.grounding_suite, data.GROUNDING_SUITE_SCRIPT),
    'dlc-bench': (data.dlc_bench, data.DLC_SCRIPT), 'gar-bench': (data.gar_bench, data.GAR_SCRIPT),
    'psg': (data.psg, {data.PSG_QUESTION: data.PSG_ANSWER}),
}
# Worked out by hand from the rectangles in dataset_samples.
FIGURES = {
    'gres': {'gIoU': 62.5, 'cIoU': 50.0, 'N-acc': 50.0, 'T-acc': 100.0, 'mIoU': 75.0,
             'IoU above 0.5': 50.0},
    'refcoco': {'REC AP50': 50.0, 'REC AP50, best': 100.0, 'RES cIoU': (1 + 2 / 3) / 2 * 100,
                'mIoU': (1 + 0 + 2 / 3) / 3 * 100, 'cIoU': 40 / 96 * 100,
                'VLM-R1: REC AP50': 50.0, 'VLM-R1: RES cIoU': (1 + 4 / 3) / 4 * 100},
    'multi-round': {'round 1: gIoU': 100.0, 'round 1: cIoU': 100.0, 'round 2: gIoU': 200 / 3,
                    'round 2: cIoU': 200 / 3, 'gIoU': (2 + 2 / 3) / 3 * 100,
                    'cIoU': 40 / 48 * 100},
    'grounding-suite': {'gIoU': (1 + 2 / 3) / 3 * 100, 'box accuracy': 200 / 3,
                        'class 1: gIoU': 100.0, 'class 3: gIoU': 100 / 3,
                        'class 1: box accuracy': 100.0, 'class 3: box accuracy': 50.0},
    'dlc-bench': {'positive, negative, average': None, 'words': 1.5, 'empty captions': 1.0,
                  'cut off': 1.0},
    'gar-bench': {'overall': 200 / 3, 'color': 50.0, 'relation': 100.0},
    'psg': {'R@20': 50.0, 'R@50': 50.0, 'R@100': 50.0, 'mR@20': 100 / 3, 'mR@50': 100 / 3,
            'mR@100': 100 / 3, 'answers without a whole list': 0.0, 'unusable triplets': 2.0},
}
SKIPPED = {
    'gres': {'image is missing': 1, 'image is not of the size that the data set says': 1},
    'refcoco': {'listed by VLM-R1, not in the annotation file': 1},
    'dlc-bench': {'region 1 is empty': 1}}


def begun(run, name, place):
    run.begin(run_manifest(name, TASKS[name], place, 'tabletop', {'limit': None}))


def work_in(run, share=None):
    return Work(run, share or Share(), Asking(GenerationLimits(max_new_tokens=64)), load_image)


def merged(run):
    return merging.merge(run, EqualPhrases(), load_image)


def run_task(name, place, path, script):
    run = RunDirectory(path)
    begun(run, name, place)
    pipeline = data.pipeline_saying(script)
    results = list(run_samples(pipeline, TASKS[name].reader.read(place), work_in(run)))
    run.finish(Share(), len(results))
    return run


@pytest.mark.parametrize('name', SCRIPTS)
def test_run_when_answers_are_known_then_figures_and_skips_are_those_worked_out(tmp_path, name):
    make, script = SCRIPTS[name]
    run = run_task(name, make(tmp_path), tmp_path / 'run', script)
    text = merged(run)
    report = json.loads((run.path / 'report.json').read_text())
    found = {key: measure['value'] for key, measure in report['measures'].items()}
    assert found == pytest.approx(FIGURES[name], abs=1e-4)
    assert report['skipped'] == SKIPPED.get(name, {})
    assert all(f'skipped {count}: {reason}' in text
               for reason, count in SKIPPED.get(name, {}).items())
    assert report['manifest']['task'] == name
    assert (run.path / 'table.txt').read_text() == text


def test_run_when_a_round_points_at_an_answer_then_the_model_hears_its_mask_words(tmp_path):
    place = data.multi_round(tmp_path)
    run = RunDirectory(tmp_path / 'run')
    begun(run, 'multi-round', place)
    pipeline = data.pipeline_saying(data.MULTI_ROUND_SCRIPT)
    list(run_samples(pipeline, TASKS['multi-round'].reader.read(place), work_in(run)))
    (earlier,) = pipeline.language_model.remembered
    assert earlier.instruction == (data.please('mug'),)
    assert data.MUG_WORDS in earlier.answer


def test_run_when_a_question_comes_first_then_its_answer_is_an_earlier_round(tmp_path):
    place = replace(data.psg(tmp_path), candidates=Candidates.TWO_ROUNDS)
    (sample,) = TASKS['psg'].reader.read(place)
    run = RunDirectory(tmp_path / 'run')
    begun(run, 'psg', place)
    pipeline = data.pipeline_saying(
        {sample.asked_before[0]: data.listed(0), sample.question: data.PSG_ANSWER})
    (result,) = run_samples(pipeline, iter([sample]), work_in(run))
    (earlier,) = pipeline.language_model.remembered
    assert earlier == Round(sample.asked_before, data.listed(0))
    assert (result.question, result.text) == (sample.question, data.PSG_ANSWER)


def test_run_when_gcg_then_captions_masks_and_what_does_not_fit_are_reported(tmp_path, monkeypatch):
    monkeypatch.setattr('samtok_ros.evaluation.metrics.captions.shutil.which', lambda name: None)
    place = data.gcg(tmp_path)
    question = next(TASKS['gcg'].reader.read(place)).question
    answers = iter(data.GCG_ANSWERS)

    class TwoAnswers(dict):
        def __getitem__(self, asked):
            assert asked == question
            return next(answers)

    run = run_task('gcg', place, tmp_path / 'run', TwoAnswers())
    merged(run)
    report = json.loads((run.path / 'report.json').read_text())
    assert report['skipped'] == {'as many phrases as masks are needed': 1}
    assert report['skipped_first'] == {
        'as many phrases as masks are needed': 'c: 1 phrases, 0 masks'}
    assert report['measures']['Recall']['value'] == pytest.approx(200 / 3, abs=1e-3)
    assert report['measures']['precision, all pairs']['value'] == 50.0
    assert report['measures']['METEOR'] == {
        'value': None, 'unit': '%', 'count': 2, 'note': 'not computed: java is not installed'}


def test_run_when_small_regions_are_zoomed_then_the_mask_and_the_published_rule_are_given(tmp_path):
    place = data.dlc_bench(tmp_path)
    run = RunDirectory(tmp_path / 'run')
    begun(run, 'dlc-bench', place)
    pipeline, calls = data.pipeline_saying({}), []

    def describe_region(image_rgb, region, zoom, limits):
        calls.append((image_rgb.shape, region, zoom, limits))
        return Answer('A thing.', (), (), 'stop')

    pipeline.describe_region = describe_region
    limits = GenerationLimits(max_new_tokens=7)
    work = Work(run, Share(), Asking(limits, TASKS['dlc-bench'].zoom), load_image)
    results = list(run_samples(pipeline, TASKS['dlc-bench'].reader.read(place), work))
    assert [result.text for result in results] == ['A thing.'] * 3
    shape, region, zoom, given = calls[0]
    assert np.array_equal(region, data.MUG)
    assert (shape, zoom, given) == ((12, 16, 3), ZoomRule(0.3, compatible=True), limits)


def test_run_when_suite_and_dlc_end_then_predictions_have_the_published_form(tmp_path):
    (tmp_path / 'suite').mkdir()
    place = data.grounding_suite(tmp_path / 'suite')
    run = run_task('grounding-suite', place, tmp_path / 'a', data.GROUNDING_SUITE_SCRIPT)
    merged(run)
    lines = [json.loads(line) for line in (run.path / 'predictions.jsonl').open()]
    assert [line['predicted_box'] for line in lines] == [
        [2.0, 2.0, 7.0, 5.0], [0.0] * 4, [11.0, 7.0, 14.0, 10.0]]
    assert set(lines[0]) == {'idx', 'image_path', 'predicted_box', 'predicted_segmentation',
                             'class_id'}
    (tmp_path / 'dlc').mkdir()
    place = data.dlc_bench(tmp_path / 'dlc')
    run = run_task('dlc-bench', place, tmp_path / 'b', data.DLC_SCRIPT)
    merged(run)
    (entry,) = json.loads((run.path / 'predictions.json').read_text())
    assert entry['image_name'] == data.IMAGE
    assert [(one['class_name'], one['pred_caption']) for one in entry['mask_samples']] == [
        ('mug', 'A red mug.'), ('bowl', '')]


def test_run_when_interrupted_then_it_goes_on_and_each_sample_is_asked_once(tmp_path):
    place = data.gres(tmp_path)
    run = RunDirectory(tmp_path / 'run')
    begun(run, 'gres', place)
    first = data.pipeline_saying(data.GRES_SCRIPT)
    results = run_samples(first, gres.read(place), work_in(run))
    assert [next(results).number, next(results).number] == [0, 1]
    results.close()
    with pytest.raises(ConfigError, match='holds no run'):
        RunDirectory(tmp_path).manifest()
    assert 'the run is not finished' in merged(run)
    # The process was killed in the middle of a line.
    with (run.path / 'results.0-of-1.jsonl').open('ab') as stream:
        stream.write(b'{"number": 2, "sample')
    begun(run, 'gres', place)
    second = data.pipeline_saying(data.GRES_SCRIPT)
    assert [one.number for one in run_samples(second, gres.read(place), work_in(run))] == [
        2, 3, 4, 5]
    assert len(second.language_model.heard) == 2
    assert run.finish(Share(), 6)
    assert '4 of 6 samples asked, 2 skipped\n' in merged(run)
    assert [one.number for one in run.results()] == list(range(6))


def test_run_when_several_processes_share_then_the_last_one_knows_and_figures_are_the_same(
        tmp_path):
    place = data.gres(tmp_path)
    run = RunDirectory(tmp_path / 'run')
    ended = []
    for index in range(3):
        begun(run, 'gres', place)
        share = Share(index, 3)
        pipeline = data.pipeline_saying(data.GRES_SCRIPT)
        numbers = [one.number for one in run_samples(pipeline, gres.read(place),
                                                     work_in(run, share))]
        assert numbers == [index, index + 3]
        ended.append(run.finish(share, 6))
    assert ended == [False, False, True]
    merged(run)
    measures = json.loads((run.path / 'report.json').read_text())['measures']
    assert {name: one['value'] for name, one in measures.items()} == FIGURES['gres']
    # One process alone finds nothing left to do but what was skipped.
    pipeline = data.pipeline_saying({})
    assert [one.number for one in run_samples(pipeline, gres.read(place), work_in(run))] == [4, 5]
    assert [one.number for one in run.results()] == list(range(6))


def test_run_when_images_came_later_then_what_was_skipped_is_asked_and_counts(tmp_path):
    place = data.gres(tmp_path)
    image = tmp_path / data.IMAGE
    image.rename(tmp_path / 'elsewhere.png')
    # Two processes at first, then one: its file comes first by name and counts all the same.
    run = run_task('gres', place, tmp_path / 'run', {})
    (run.path / 'results.0-of-1.jsonl').rename(run.path / 'results.0-of-2.jsonl')
    assert run.answered() == set()
    (tmp_path / 'elsewhere.png').rename(image)
    run = run_task('gres', place, run.path, data.GRES_SCRIPT)
    assert run.answered() == {0, 1, 2, 3}
    merged(run)
    report = json.loads((run.path / 'report.json').read_text())
    assert (report['asked'], report['skipped']) == (4, SKIPPED['gres'])
    assert {name: one['value'] for name, one in report['measures'].items()} == FIGURES['gres']


def test_results_when_a_sample_was_skipped_twice_then_the_last_reason_counts(tmp_path):
    run = RunDirectory(tmp_path)
    with run.writer(Share()) as writer:
        for number, reason in ((0, 'first'), (0, 'last'), (1, ''), (1, 'later')):
            # Keys and texts of the data set do not look like the reason.
            writer.add(Result(number, 'a', text='", "skipped": "x', facts={'skipped': 'x'},
                              skipped=reason, detail='", "skipped": ""'))
    assert run.answered() == {1}
    assert [one.skipped for one in run.results()] == ['last', '']


@pytest.mark.parametrize(('change', 'named'), [
    ({'options': {'limit': 3}}, 'options'), ({'model': {'name': 'other'}}, 'model'),
    ({'files': {'grefs(unc).json': 'x'}}, 'files'), ({'more': 1}, 'more')])
def test_run_when_manifest_is_another_then_it_is_refused_and_named(tmp_path, change, named):
    place = data.gres(tmp_path)
    run = RunDirectory(tmp_path / 'run')
    manifest = run_manifest('gres', TASKS['gres'], place, 'tabletop', {'limit': None})
    run.begin(manifest)
    run.begin(manifest)
    with pytest.raises(ConfigError, match=f"holds another run: its '{named}' is different"):
        run.begin({**manifest, **change})
    assert sorted(path.name for path in run.path.iterdir()) == ['manifest.json']


def test_run_when_there_are_no_hard_links_then_the_manifest_is_written_and_checked(
        tmp_path, monkeypatch):
    def refuse(*paths):
        raise PermissionError('no hard links')

    monkeypatch.setattr('samtok_ros.evaluation.datasets.run_directory.os.link', refuse)
    run = RunDirectory(tmp_path / 'run')
    run.begin({'task': 'gres'})
    run.begin({'task': 'gres'})
    with pytest.raises(ConfigError, match='holds another run'):
        run.begin({'task': 'psg'})
    assert [path.name for path in run.path.iterdir()] == ['manifest.json']


def test_run_when_the_device_is_out_of_memory_then_it_stops_and_what_was_asked_stays(tmp_path):
    place = data.gres(tmp_path)
    run = RunDirectory(tmp_path / 'run')
    begun(run, 'gres', place)
    pipeline = data.pipeline_saying(data.GRES_SCRIPT)
    asked = pipeline.language_model.generate

    def generate(*arguments, **options):
        if len(pipeline.language_model.heard) == 1:
            raise DeviceError('out of memory')
        return asked(*arguments, **options)

    pipeline.language_model.generate = generate
    with pytest.raises(DeviceError):
        list(run_samples(pipeline, gres.read(place), work_in(run)))
    assert run.answered() == {0}


def test_merge_when_no_sample_could_be_asked_then_the_reasons_are_named(tmp_path):
    place = data.gres(tmp_path)
    (tmp_path / data.IMAGE).unlink()
    run = run_task('gres', place, tmp_path / 'run', {})
    with pytest.raises(ConfigError, match='no sample could be asked.*skipped 5: image is missing'):
        merged(run)


@pytest.mark.parametrize('line', ['{"sample_id": 1}', '{"number": 1, "nothing": 2}', 'x'])
def test_results_when_a_line_is_damaged_then_the_file_is_named(tmp_path, line):
    (tmp_path / 'results.0-of-1.jsonl').write_text(line + '\n')
    with pytest.raises(ConfigError, match='line'):
        list(RunDirectory(tmp_path).results())


def test_result_when_written_and_read_then_nothing_is_lost(tmp_path):
    run = run_task('gres', data.gres(tmp_path), tmp_path / 'run', data.GRES_SCRIPT)
    result = next(run.results())
    assert Result.from_line(result.to_line()) == result
    assert np.array_equal(result.said[0].mask, data.MUG)
    assert (result.said[0].label, result.sample_id) == ('it', '0_70')


class Page(HTMLParser):
    """Collects what a browser would need."""

    def __init__(self):
        super().__init__()
        self.open, self.cases, self.pictures, self.loaded, self.text = [], [], [], [], ''

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in ('meta', 'img'):
            self.open.append(tag)
        if tag == 'article':
            self.cases.append(attributes['id'])
        if tag == 'img':
            self.pictures.append(attributes['src'])
        self.loaded += [attributes[name] for name in ('href', 'src') if name in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.text += text


def test_worst_page_when_read_as_html_then_it_is_whole_and_loads_nothing(tmp_path):
    script = {**data.GRES_SCRIPT, data.please('a cone'): 'No <b>"cone"</b>.'}
    run = run_task('gres', data.gres(tmp_path), tmp_path / 'run', script)
    (tmp_path / data.SMALL).unlink()
    merged(run)
    page = Page()
    page.feed((run.path / 'worst.html').read_text())
    assert page.open == []
    assert page.cases == [f'case-{number}' for number in (1, 2, 3, 4)]
    assert len(page.pictures) == 8
    assert all(one.startswith('data:image/jpeg;base64,') for one in page.loaded)
    assert 'No <b>"cone"</b>.' in page.text
    # The worst comes first: the ghost that was found.
    assert page.text.index('a ghost') < page.text.index('both things') < page.text.index('a cone')


def test_worst_page_when_the_image_is_gone_then_the_case_says_so(tmp_path):
    run = run_task('gres', data.gres(tmp_path), tmp_path / 'run', data.GRES_SCRIPT)
    (tmp_path / data.IMAGE).unlink()
    merged(run)
    assert 'there is no file' in (run.path / 'worst.html').read_text()


def test_agreement_picture_when_masks_differ_then_each_kind_of_pixel_has_its_colour(tmp_path):
    run = run_task('refcoco', data.refcoco(tmp_path), tmp_path / 'run', data.REFCOCO_SCRIPT)
    second = list(run.results())[1]
    picture = agreement_picture(np.zeros((*data.SIZE_HW, 3), np.uint8), second)
    for colour, (row, column) in ((WRONG_RGB, (4, 4)), (MISSED_RGB, (8, 11))):
        shown = picture[row, column].astype(float)
        assert np.allclose(shown / shown.max(), np.array(colour) / max(colour), atol=0.02)
    both = agreement_picture(np.zeros((*data.SIZE_HW, 3), np.uint8), next(run.results()))[4, 4]
    assert np.allclose(both / both.max(), np.array(RIGHT_RGB) / max(RIGHT_RGB), atol=0.02)


def test_worst_results_when_some_have_no_score_then_they_are_left_out():
    results = [Result(number, str(number)) for number in range(5)]
    found = worst_results(iter(results), lambda one: None if one.number == 0 else 5 - one.number, 2)
    assert [(score, one.number) for score, one in found] == [(1, 4), (2, 3)]

# SPDX-License-Identifier: Apache-2.0
"""Which directory a model name means; nothing is downloaded."""

import sys
from pathlib import Path

import pytest

from samtok_ros import model_directory
from samtok_ros.cli.main import main
from samtok_ros.errors import CheckpointError
from samtok_ros.hub.manifest import MANIFEST_FILE
from samtok_ros.model_directory import model_name, resolve_model, split_tokenizer_id


def test_resolve_when_tabletop_gives_the_shipped_directory():
    assert (resolve_model('tabletop') / 'mask_tokenizer.json').is_file()


def test_resolve_when_a_directory_gives_it_whole(tmp_path):
    assert resolve_model(str(tmp_path)) == tmp_path.resolve()


@pytest.mark.parametrize('name', ['nowhere', '/no/such/folder', './a/b', '', '~nobody-here/x'])
def test_resolve_when_there_is_nothing_says_what_is_possible(name):
    with pytest.raises(CheckpointError, match="'owner/name'"):
        resolve_model(name)


def test_resolve_when_the_hub_cache_lacks_it_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    with pytest.raises(CheckpointError, match='samtok fetch someone/Some-Model'):
        resolve_model('someone/Some-Model')


def test_fetch_when_the_hub_client_is_missing_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    assert main(['fetch', 'someone/Some-Model']) == 2
    assert 'huggingface_hub is not installed' in (said := capsys.readouterr().err)
    assert 'pip install huggingface-hub' in said


def test_resolve_when_the_hub_client_is_missing_says_what_names_need(monkeypatch):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(CheckpointError, match="'models/mistyped'.*need huggingface_hub"):
        resolve_model('models/mistyped')


def test_resolve_when_the_embedded_model_is_missing_says_how_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(model_directory, 'MODELS_DIR', tmp_path)
    with pytest.raises(CheckpointError, match='make setup'):
        resolve_model('tabletop')


@pytest.mark.parametrize(('path', 'name'), [
    ('/models/tabletop', 'tabletop'),
    ('/hub/models--someone--Some-Model/snapshots/0123abc', 'someone/Some-Model'),
    ('/hub/snapshots/0123abc', '0123abc'),
])
def test_name_when_asked_is_what_a_person_calls_it(path, name):
    assert model_name(Path(path)) == name


def test_name_when_the_manifest_is_damaged_then_it_is_named(tmp_path):
    (tmp_path / MANIFEST_FILE).write_text('{"repo": 1, "files": []}')
    with pytest.raises(CheckpointError, match=f'{MANIFEST_FILE} is damaged'):
        model_name(tmp_path)


def test_tokenizer_id_when_the_folder_has_an_at_sign_then_the_last_one_separates():
    assert split_tokenizer_id('models@home/new@0123456789abcdef') == (
        'models@home/new', '0123456789abcdef')

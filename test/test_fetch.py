# SPDX-License-Identifier: Apache-2.0
"""Fetching a published model from a hub that speaks the hub's protocol and fails on demand."""

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from hub_server import HubState, LocalHub, etag, model_files

from samtok_ros.cli.main import main
from samtok_ros.errors import CheckpointError, HubError
from samtok_ros.hub.cache import PIN, repo_folder
from samtok_ros.hub.client import Hub
from samtok_ros.hub.fetch import FetchRequest, fetch, verify
from samtok_ros.hub.manifest import MANIFEST_FILE, Manifest
from samtok_ros.model_directory import model_name, resolve_model

REPO = 'someone/Some-SAMTok'
OLD, NEW = '1' * 40, '2' * 40
WEIGHTS = 'model-00001-of-00002.safetensors'
NEEDED = {'LICENSE', 'config.json', 'tokenizer.json', 'preprocessor_config.json',
          'chat_template.jinja', 'model.safetensors.index.json', WEIGHTS,
          'model-00002-of-00002.safetensors', 'mask_tokenizer_256x2.pth',
          'video_preprocessor_config.json'}


@pytest.fixture
def state():
    return HubState({OLD: model_files()}, {'main': OLD, 'v1': OLD})


@pytest.fixture
def server(state):
    with LocalHub(state) as server:
        yield server


@pytest.fixture
def hub(server, tmp_path, monkeypatch):
    """The client of that hub, with an empty cache and without waiting between two tries."""
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path / 'hub'))
    monkeypatch.setattr('huggingface_hub.file_download.time.sleep', lambda _: None)
    # What arrives is written in pieces of this size; less than one is lost with a connection.
    monkeypatch.setattr('huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE', 500)
    for name in ('HF_TOKEN', 'HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'all_proxy'):
        monkeypatch.delenv(name, raising=False)
    return Hub(server.url)


def fetched(hub, revision=None, folder=None):
    """Fetch; return the folder and what was said."""
    said = []
    return fetch(FetchRequest(REPO, revision, folder), hub, said.append), ' '.join(said)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()
            if path.name != MANIFEST_FILE}


def test_fetch_when_nothing_is_here_then_only_needed_files_come_and_the_name_works(hub, state):
    model_dir, said = fetched(hub)
    assert contents(model_dir) == {name: state.commits[OLD][name] for name in NEEDED}
    assert resolve_model(REPO) == model_dir
    assert model_name(model_dir) == REPO
    assert not state.asked('GET', 'pytorch_model.bin') + state.asked('GET', 'sam2.1')
    assert '10 of its 15 files' in said
    assert all((model_dir / name).is_symlink() for name in NEEDED)


def test_fetch_when_done_then_the_manifest_tells_the_commit_and_every_hash(hub):
    model_dir, _ = fetched(hub, 'v1')
    manifest, damage = verify(model_dir)
    assert (manifest.repo, manifest.revision, manifest.commit) == (REPO, 'v1', OLD)
    assert manifest.files.keys() == NEEDED
    assert damage == []


def test_fetch_when_all_is_here_then_the_hub_is_not_asked(hub, state):
    first, _ = fetched(hub)
    state.requests.clear()
    again, said = fetched(hub)
    assert (again, state.requests) == (first, [])
    assert 'all are whole' in said


def test_fetch_when_a_transfer_breaks_off_then_it_goes_on_at_the_byte_where_it_stopped(hub, state):
    state.break_off[WEIGHTS] = [2500, 3000]
    model_dir, _ = fetched(hub)
    ranges = [headers.get('range') for headers in state.asked('GET', f'/apart/{OLD}/{WEIGHTS}')]
    assert ranges == [None, 'bytes=2500-', 'bytes=5500-']
    assert (model_dir / WEIGHTS).read_bytes() == state.commits[OLD][WEIGHTS]


def test_fetch_when_the_network_stays_away_then_the_next_run_goes_on(hub, state):
    state.break_off[WEIGHTS] = [4000] + [0] * 5
    with pytest.raises(HubError, match='what has arrived is kept'):
        fetched(hub)
    with pytest.raises(CheckpointError, match=f'samtok fetch {REPO}'):
        resolve_model(REPO)
    state.requests.clear()
    model_dir, _ = fetched(hub)
    assert [headers.get('range') for headers in state.asked('GET', f'/apart/{OLD}/{WEIGHTS}')] == [
        'bytes=4000-']
    assert not state.asked('GET', 'config.json')
    assert verify(model_dir)[1] == []


def test_fetch_when_content_is_not_what_was_announced_then_it_is_removed_and_not_used(hub, state):
    state.damaged[WEIGHTS] = b'x' * 9000
    with pytest.raises(HubError, match=f'{WEIGHTS} arrived damaged'):
        fetched(hub)
    with pytest.raises(CheckpointError):
        resolve_model(REPO)
    state.damaged.clear()
    model_dir, _ = fetched(hub)
    assert contents(model_dir)[WEIGHTS] == state.commits[OLD][WEIGHTS]


def test_fetch_when_more_arrives_than_was_announced_then_the_next_run_starts_anew(hub, state):
    state.damaged[WEIGHTS] = b'x' * 9500
    with pytest.raises(HubError, match='transfer failed.*9500.*again'):
        fetched(hub)
    state.damaged.clear()
    assert contents(fetched(hub)[0])[WEIGHTS] == state.commits[OLD][WEIGHTS]


def test_fetch_when_main_moves_on_then_the_pin_holds_until_it_is_asked_for(hub, state):
    old_dir, _ = fetched(hub)
    state.commits[NEW] = model_files(weights=b'n' * 9500)
    state.refs['main'] = NEW
    assert fetched(hub)[0] == old_dir
    state.requests.clear()
    new_dir, said = fetched(hub, 'main')
    assert new_dir.name == NEW
    assert resolve_model(REPO) == new_dir
    assert f'pinned to {NEW} now, it was {OLD}' in said
    # Files that did not change are not transferred again.
    assert {path.rsplit('/', 1)[1] for verb, path, _ in state.requests
            if verb == 'GET' and not path.startswith('/api/')} == {WEIGHTS}
    assert fetched(hub, 'v1')[0] == resolve_model(REPO) == old_dir


def test_fetch_when_a_cached_file_was_damaged_later_then_it_alone_comes_again(hub, state):
    model_dir, _ = fetched(hub)
    (model_dir / WEIGHTS).resolve().write_bytes(b'w' * 8999 + b'x')
    (model_dir / 'config.json').resolve().unlink()
    assert [clause.split()[0] for clause in verify(model_dir)[1]] == ['config.json', WEIGHTS]
    state.requests.clear()
    _, said = fetched(hub)
    assert WEIGHTS in said
    assert verify(model_dir)[1] == []
    assert not state.asked('GET', 'tokenizer.json')
    assert Manifest.read(model_dir).revision == 'main'


def test_fetch_when_the_hub_client_fetched_before_then_its_files_are_kept(hub, state):
    from huggingface_hub import snapshot_download

    theirs = snapshot_download(REPO, endpoint=hub.endpoint)
    assert resolve_model(REPO) == repo_folder(REPO) / 'snapshots' / OLD
    state.requests.clear()
    model_dir, _ = fetched(hub)
    assert str(model_dir) == theirs
    assert not state.asked('GET', '/resolve/') + state.asked('GET', '/apart/')
    assert verify(model_dir)[1] == []


def test_fetch_when_into_a_folder_then_it_can_be_carried_away(hub, state, tmp_path):
    folder, _ = fetched(hub, folder=tmp_path / 'stick' / 'model')
    carried = tmp_path / 'robot'
    shutil.move(folder, carried)
    assert contents(carried) == {name: state.commits[OLD][name] for name in NEEDED}
    assert resolve_model(str(carried)) == carried
    assert model_name(carried) == REPO
    assert verify(carried)[1] == []


def test_fetch_when_the_cache_is_copied_then_the_pin_goes_with_it(hub, tmp_path, monkeypatch):
    fetched(hub, 'v1')
    shutil.copytree(tmp_path / 'hub', tmp_path / 'copy', symlinks=True)
    shutil.rmtree(tmp_path / 'hub')
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path / 'copy'))
    model_dir = resolve_model(REPO)
    assert model_dir.is_relative_to(tmp_path / 'copy')
    assert verify(model_dir)[1] == []


def test_fetch_when_a_folder_takes_a_new_revision_then_old_files_go(hub, state, tmp_path):
    folder, _ = fetched(hub, folder=tmp_path / 'model')
    files = model_files()
    del files['LICENSE']
    state.commits[NEW], state.refs['main'] = files, NEW
    fetched(hub, 'main', folder)
    assert contents(folder).keys() == NEEDED - {'LICENSE'}


def test_fetch_when_a_new_revision_does_not_come_then_the_folder_holds_the_old_one(
        hub, state, tmp_path):
    folder, _ = fetched(hub, folder=tmp_path / 'model')
    state.commits[NEW] = model_files(b'n' * 9500) | {'LICENSE': b'Apache-3.0'}
    state.break_off[WEIGHTS] = [4000] + [0] * 5
    with pytest.raises(HubError):
        fetched(hub, NEW, folder)
    assert (Manifest.read(folder).commit, verify(folder)[1]) == (OLD, [])
    # A part that is whole, but of a revision that is no longer wanted, is not in the way.
    state.commits['3' * 40] = model_files() | {'LICENSE': b'Apache-4.0'}
    fetched(hub, '3' * 40, folder)
    assert (folder / 'LICENSE').read_bytes() == b'Apache-4.0'


def test_fetch_when_stopped_while_files_are_replaced_then_no_manifest_says_whole(
        hub, state, tmp_path, monkeypatch):
    folder, _ = fetched(hub, folder=tmp_path / 'model')
    state.commits[NEW] = model_files(weights=b'n' * 9500)
    replace = Path.replace

    def stop_at_weights(part, path):
        return 1 / 0 if path.name == WEIGHTS else replace(part, path)

    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(Path, 'replace', stop_at_weights)
        fetched(hub, NEW, folder)
    with pytest.raises(CheckpointError, match='no record'):
        verify(folder)
    fetched(hub, NEW, folder)
    assert contents(folder)[WEIGHTS] == b'n' * 9500


def test_fetch_when_a_folder_transfer_broke_off_then_it_goes_on(hub, state, tmp_path):
    folder = tmp_path / 'model'
    state.break_off[WEIGHTS] = [4000] + [0] * 5
    with pytest.raises(HubError):
        fetched(hub, folder=folder)
    with pytest.raises(CheckpointError, match='no record'):
        verify(folder)
    fetched(hub, folder=folder)
    assert contents(folder) == {name: state.commits[OLD][name] for name in NEEDED}


def test_fetch_when_a_folder_holds_other_files_then_they_are_not_touched(hub, tmp_path):
    (tmp_path / 'LICENSE').write_text('mine')
    with pytest.raises(HubError, match='holds other files'):
        fetched(hub, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['LICENSE']


def test_fetch_when_a_folder_holds_another_model_then_it_is_refused(hub, tmp_path):
    Manifest('other/Model', 'main', OLD, {}).write(tmp_path)
    with pytest.raises(HubError, match='expected someone/Some-SAMTok, got other/Model'):
        fetched(hub, folder=tmp_path)


def test_fetch_when_files_lie_apart_then_the_token_is_not_sent_there(hub, state, monkeypatch):
    state.gated = True
    monkeypatch.setenv('HF_TOKEN', 'hf_secret')
    fetched(hub)
    assert {headers.get('authorization') for headers in state.asked('GET', '/resolve/')} == {
        'Bearer hf_secret'}
    apart = state.asked('GET', '/apart/')
    assert apart
    assert not any('authorization' in headers for headers in apart)


def lacks_tokenizer(files):
    del files['mask_tokenizer_256x2.pth']


def lacks_shard(files):
    del files['model-00002-of-00002.safetensors']


@pytest.mark.parametrize(('change', 'text'), [
    (lacks_tokenizer, r'no SAMTok model, nothing was fetched: expected mask_tokenizer'),
    (lacks_shard, r'lacks weights .*1 missing \(model-00002-of-00002'),
    (lambda files: files.clear(), 'got no files'),
])
def test_fetch_when_the_repository_is_no_whole_model_then_no_weights_are_fetched(
        hub, state, change, text):
    change(state.commits[OLD])
    with pytest.raises(CheckpointError, match=text):
        fetched(hub)
    assert not state.asked('GET', '/apart/')


def test_fetch_when_the_repository_is_unknown_then_it_says_so(hub):
    with pytest.raises(HubError, match='no repository nobody/Nothing.*hf auth login'):
        fetch(FetchRequest('nobody/Nothing'), hub, print)


def test_fetch_when_the_revision_is_unknown_then_it_says_so(hub):
    with pytest.raises(HubError, match="has no revision 'v9'"):
        fetched(hub, 'v9')


def test_fetch_when_the_repository_is_gated_then_it_says_what_to_do(hub, state):
    state.gated = True
    with pytest.raises(HubError, match=f'is gated.*{REPO} in a browser.*hf auth login'):
        fetched(hub)


def test_fetch_when_the_hub_refuses_then_the_status_is_named(hub, state):
    state.refuse = 503
    with pytest.raises(HubError, match='HTTP status 503'):
        fetched(hub)


def test_fetch_when_there_is_no_network_then_it_says_how_to_carry_a_model(tmp_path, monkeypatch):
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    with pytest.raises(HubError, match='cannot be reached.*HTTPS_PROXY.*--folder'):
        fetched(Hub('http://127.0.0.1:9'))


def test_fetch_when_offline_is_asked_for_then_it_says_so(hub, monkeypatch):
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    with pytest.raises(HubError, match='HF_HUB_OFFLINE'):
        fetched(hub)


def test_fetch_when_the_disk_is_too_small_then_nothing_is_transferred(hub, state, monkeypatch):
    usage = namedtuple('usage', 'free')
    monkeypatch.setattr('shutil.disk_usage', lambda _: usage(100_020_000))
    with pytest.raises(HubError, match=r'too small: expected 100.0 MB free, got 100.0 MB'):
        fetched(hub)
    assert not state.asked('GET', '/resolve/')


def test_fetch_when_another_process_is_at_it_then_it_is_left_alone(hub, state):
    import fcntl

    state.break_off[WEIGHTS] = [4000] + [0] * 5
    with pytest.raises(HubError):
        fetched(hub)
    part = repo_folder(REPO) / 'blobs' / f'{etag(state.commits[OLD][WEIGHTS])}.part'
    with part.open('ab') as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(HubError, match='another process'):
            fetched(hub)
    assert part.stat().st_size == 4000


def test_resolve_when_the_pin_leads_out_of_the_cache_then_it_is_not_followed(hub):
    fetched(hub)
    for name in (PIN, 'main'):
        (repo_folder(REPO) / 'refs' / name).write_text('../../../..')
    with pytest.raises(CheckpointError, match='not on this machine'):
        resolve_model(REPO)


def command(tmp_path, server, *arguments, **environment):
    """Run the command in a process of its own, as only that reads the environment anew."""
    clean = {name: value for name, value in os.environ.items()
             if not name.lower().endswith('_proxy') and not name.startswith('HF_')}
    return subprocess.run(
        [sys.executable, '-P', '-c', 'import sys; from samtok_ros.cli.main import main; '
         'sys.exit(main())', 'fetch', *map(str, arguments)],
        env=clean | {'HF_HOME': str(tmp_path / 'home'), 'HF_ENDPOINT': server.url,
                     'NO_PROXY': ''} | environment,
        capture_output=True, text=True, timeout=60, check=False)


def test_command_when_run_then_it_fetches_and_verifies_through_a_proxy(server, state, tmp_path):
    # The local hub stands for the proxy: the address itself leads nowhere.
    proxied = {'HF_ENDPOINT': 'http://hub.invalid', 'HTTP_PROXY': server.url}
    done = command(tmp_path, server, REPO, **proxied)
    assert done.returncode == 0, done.stderr
    model_dir = tmp_path / 'home' / 'hub' / 'models--someone--Some-SAMTok' / 'snapshots' / OLD
    assert done.stdout.splitlines()[-1] == str(model_dir)
    assert {headers['host'] for headers in state.asked('GET', '/api/')} == {'hub.invalid'}
    (model_dir / 'config.json').resolve().write_text('{}')
    checked = command(tmp_path, server, REPO, '--verify')
    assert checked.returncode == 1
    assert checked.stdout.splitlines() == [
        'config.json has 2 bytes instead of 26',
        f'{REPO} at {OLD}: 10 files, 0.0 MB, 1 damaged']


def test_command_when_dry_then_it_lists_and_writes_nothing(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('huggingface_hub.constants.ENDPOINT', hub.endpoint)
    assert main(['fetch', REPO, '--dry-run']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[-1] for line in lines[:-1]} == NEEDED
    assert not (tmp_path / 'hub').exists()


@pytest.mark.parametrize(('arguments', 'text'), [
    (['tabletop'], 'ships with the package'),
    (['/some/where'], 'OWNER/NAME'),
    ([REPO, '--verify', '--revision', 'v1'], 'Leave --revision out'),
    (['tabletop', '--verify'], 'no record'),
    ([REPO, '--folder', '~nobody-here/x'], 'no such home folder'),
])
def test_command_when_misused_then_it_says_what_was_meant(capsys, arguments, text):
    assert main(['fetch', *arguments]) == 2
    assert text in capsys.readouterr().err

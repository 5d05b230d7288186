# SPDX-License-Identifier: Apache-2.0
"""The page of worst cases in a real browser: it shows its pictures and asks the network nothing."""

import os
import re
import shutil
import subprocess

import dataset_samples as data
import pytest
from test_dataset_runs import merged, run_task

DEADLINE_S = 120.0
BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')
# Written into the page by the browser itself, once every picture is decoded or has failed.
COUNT_PICTURES = """<script>
addEventListener('load', () => {
  const pictures = [...document.images];
  document.title = `seen ${pictures.filter(p => p.complete && p.naturalWidth > 0).length} of ` +
    `${pictures.length}, loaded ${performance.getEntriesByType('resource')
      .filter(entry => !entry.name.startsWith('data:')).length}`;
});
</script>"""


@pytest.fixture
def browser(tmp_path):
    """Return a call of a headless browser with some arguments; it gives what it prints."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip('no browser: install chromium')
    # Its sandbox does not work for root, as whom containers run.
    sandbox = ['--no-sandbox'] if os.geteuid() == 0 else []

    def call(*arguments):
        return subprocess.run(
            [program, '--headless', '--disable-gpu', f'--user-data-dir={tmp_path / "browser"}',
             *sandbox, *arguments], check=True, capture_output=True, text=True,
            timeout=DEADLINE_S).stdout

    return call


@pytest.fixture
def page(tmp_path):
    """Return the page of a run with right and wrong answers."""
    run = run_task('gres', data.gres(tmp_path), tmp_path / 'run', data.GRES_SCRIPT)
    merged(run)
    return run.path / 'worst.html'


def test_page_when_a_browser_opens_it_then_all_pictures_are_seen_and_nothing_is_loaded(
        browser, page):
    page.write_text(page.read_text().replace('</body>', f'{COUNT_PICTURES}</body>'))
    shown = browser('--dump-dom', '--virtual-time-budget=10000', page.as_uri())
    title = re.search('<title>(.*?)</title>', shown)[1]
    count = page.read_text().count('<img ')
    assert count >= 8
    assert title == f'seen {count} of {count}, loaded 0'

# SPDX-License-Identifier: Apache-2.0
"""Image, mask and report files of the `samtok` command, and where they may be written."""

import errno
import os
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from samtok_ros.cli import main as entry
from samtok_ros.cli.files import (
    check_folder,
    check_folder_of,
    load_image,
    load_mask,
    save_mask,
    save_picture,
)
from samtok_ros.errors import ConfigError, ImageError

ORIENTATION = 0x0112
TURNED_RIGHT = 6


def test_image_when_camera_was_turned_then_upright_and_only_once(tmp_path):
    stored = np.zeros((4, 6, 3), np.uint8)
    stored[0, 0] = 255
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED_RIGHT
    path = tmp_path / 'turned.png'
    Image.fromarray(stored).save(path, exif=exif)
    seen = load_image(path)
    # The camera stood on its side: what it stored top left belongs top right.
    assert seen.shape == (6, 4, 3)
    assert seen[0, 3].tolist() == [255, 255, 255]
    assert seen.sum() == 3 * 255


@pytest.mark.parametrize('orientation', range(1, 9))
def test_image_when_another_tag_is_odd_then_turned_as_pillow_turns_a_sound_one(
        tmp_path, orientation):
    stored = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(stored).save(tmp_path / 'sound.png', exif=exif)
    with Image.open(tmp_path / 'sound.png') as sound:
        expected = np.asarray(ImageOps.exif_transpose(sound))
    # A resolution unit that is a real number, which Pillow cannot write again.
    tags = struct.pack('<H', 2) + struct.pack('<HHIHH', ORIENTATION, 3, 1, orientation, 0) + (
        struct.pack('<HHIf', 0x128, 11, 1, 2.0)) + struct.pack('<I', 0)
    Image.fromarray(stored).save(tmp_path / 'odd.png', exif=(
        b'Exif\0\0II*\0' + struct.pack('<I', 8) + tags))
    np.testing.assert_array_equal(load_image(tmp_path / 'odd.png'), expected)


@pytest.mark.parametrize(('mode', 'pixel', 'expected'), [
    ('L', 7, 7), ('RGBA', (1, 2, 3, 0), (1, 2, 3)), ('CMYK', (0, 0, 0, 0), 255)])
def test_image_when_not_rgb_then_turned_into_it(mode, pixel, expected, tmp_path):
    path = tmp_path / 'image.tif'
    Image.new(mode, (3, 2), pixel).save(path)
    seen = load_image(path)
    assert (seen == np.array(expected)).all()
    assert seen.shape == (2, 3, 3)


def test_image_when_deep_or_huge_or_cut_off_then_error(tmp_path, picture, monkeypatch):
    Image.fromarray(np.full((2, 3), 1000, np.uint16)).save(tmp_path / 'depth.png')
    with pytest.raises(ImageError, match='more than 8 bits'):
        load_image(tmp_path / 'depth.png')
    unknown_kind = b'DDS |' + bytes(200)
    for name, content in (('cut.png', picture.read_bytes()[:-300]), ('x.dds', unknown_kind)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match='cannot be read'):
            load_image(tmp_path / name)
    monkeypatch.setattr('samtok_ros.image.encodings.MAX_PIXELS', 100)
    with pytest.raises(ImageError, match='is too large'):
        load_image(picture)


def test_picture_when_its_format_has_no_room_then_error(tmp_path):
    with pytest.raises(ImageError, match='cannot be written.*png'):
        save_picture(tmp_path / 'wide.webp', np.zeros((1, 17000, 3), np.uint8))


INSIDE = [[False, True, False], [False, False, True]]


@pytest.mark.parametrize('pixels', [
    pytest.param(np.array(INSIDE), id='1 bit'),
    pytest.param(np.array(INSIDE, np.uint8) * 255, id='0 and 255'),
    pytest.param(np.array(INSIDE, np.uint8), id='0 and 1'),
    pytest.param(np.array(INSIDE, np.uint16) * 3, id='16 bit label image'),
    pytest.param(np.array(INSIDE, np.uint8)[..., None] * np.array([0, 0, 9], np.uint8),
                 id='coloured'),
    pytest.param(np.array(INSIDE, np.uint8)[..., None] * np.array([9, 9, 9, 255], np.uint8)
                 + np.array([9, 0, 0, 0], np.uint8), id='transparent outside'),
])
def test_mask_when_written_by_other_programs_then_the_same_mask(pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / 'mask.png')
    assert load_mask(tmp_path / 'mask.png', (2, 3)).tolist() == INSIDE


def test_mask_when_saved_then_read_back_equal(tmp_path):
    save_mask(tmp_path / 'mask.png', np.array(INSIDE))
    assert load_mask(tmp_path / 'mask.png', (2, 3)).tolist() == INSIDE


def test_mask_when_empty_or_lossy_then_error(tmp_path):
    save_mask(tmp_path / 'empty.png', np.zeros((2, 3), np.bool_))
    with pytest.raises(ImageError, match='is an empty mask'):
        load_mask(tmp_path / 'empty.png', (2, 3))
    Image.fromarray(np.array(INSIDE, np.uint8)).save(tmp_path / 'mask.jpg')
    with pytest.raises(ImageError, match='JPEG, which changes pixels'):
        load_mask(tmp_path / 'mask.jpg', (2, 3))


def test_path_when_nothing_may_be_written_there_then_said_before_any_work(tmp_path, monkeypatch):
    locked = tmp_path / 'locked'
    locked.mkdir()
    (locked / 'old.json').touch()
    # By the question that is asked: permissions do not bind who runs tests as root.
    monkeypatch.setattr(os, 'access', lambda path, mode: locked not in (path, *path.parents))
    for check, path in ((check_folder_of, 'new.json'), (check_folder_of, 'old.json'),
                        (check_folder, ''), (check_folder, 'a/b')):
        with pytest.raises(ConfigError, match='locked.* cannot be written.*Name another place'):
            check(locked / path)
    check_folder_of(tmp_path / 'new.json')
    check_folder(tmp_path / 'a' / 'b')


def test_command_when_the_system_refuses_a_file_then_its_name_and_a_way_out(monkeypatch, capsys):
    def full(arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'masks.png')

    monkeypatch.setattr('samtok_ros.cli.policy.run', full)
    assert entry.main(['policy']) == 2
    assert capsys.readouterr().err == (
        'samtok: error: masks.png cannot be used: got No space left on device. Name another place, '
        'or make room or permission there.\n')

# SPDX-License-Identifier: Apache-2.0
"""Agreement with recorded outputs of the published mask tokenizer, with synthetic weights."""

import json
from pathlib import Path

import numpy as np
import pytest

from samtok_ros.cli.main import main
from samtok_ros.errors import CheckpointError
from samtok_ros.evaluation.parity import load_and_run
from samtok_ros.evaluation.synthetic_network import (
    build_from_inventory,
    synthetic_image,
    synthetic_weight,
)

DATA = Path(__file__).parent / 'data' / 'parity'
# Largest differences between two correct float32 computations, with room, against what the
# smallest mistake costs (the file of vectors comes with these figures): 0.02 in an embedding.
TOLERANCE = {'max_abs_features': 2e-4, 'max_abs_embedding': 2e-4, 'max_abs_logits': 1e-3,
             'max_abs_score': 5e-5}
SHOWN = ('max_abs_embedding', 'max_abs_logits', 'codes_equal', 'index_equal',
         'max_mask_pixels_off', 'masks_within_rounding', 'masks')


@pytest.mark.timeout(900)
@pytest.mark.parametrize('trunk', ['hiera_tiny', 'hiera_large'])
def test_parity_when_run_on_recorded_outputs_agrees(trunk, capsys, record_property):
    status = main(['parity', str(DATA / f'{trunk}.npz'), '--inventory',
                   str(DATA / f'{trunk}_keys.json')])
    report = json.loads(capsys.readouterr().out)
    record_property('figures', f'parity with the published mask tokenizer, {trunk}: ' + ', '.join(
        f'{name} {report[name]:.2g}' if isinstance(report[name], float) else
        f'{name} {report[name]}' for name in SHOWN))
    assert status == 0
    for name, most in TOLERANCE.items():
        assert report[name] <= most, name
    for name in ('codes_equal', 'index_equal', 'masks_within_rounding', 'inventory_equal',
                 'weights_equal'):
        assert report[name] is True, name
    assert report['masks'] >= 24


@pytest.mark.parametrize(('name', 'shape', 'first'), [
    ('quantizer.codebooks.0.weight', (257, 256), [0.20808345, -0.67201704, -0.52768606]),
    ('model.sam2_model.image_encoder.trunk.pos_embed', (1, 144, 7, 7),
     [-0.73122263, 2.5023630, -2.8707373]),
    ('model.sam2_model.image_encoder.trunk.blocks.0.norm1.weight', (144,),
     [0.91577959, 0.92958486, 1.0532610]),
    ('model.sam2_model.image_encoder.trunk.blocks.0.attn.qkv.bias', (432,),
     [0.02463353, 0.02698787, -0.00104529]),
])
def test_synthetic_weight_when_made_from_a_name_has_the_recorded_values(name, shape, first):
    np.testing.assert_allclose(synthetic_weight(name, shape).ravel()[:3], first, rtol=1e-5)


def test_synthetic_image_when_made_is_of_the_asked_size():
    image = synthetic_image(30, 41, 2)
    assert image.shape == (30, 41, 3)
    assert image.dtype == np.uint8
    assert image.std() > 20


def test_inventory_when_a_shape_differs_is_told():
    inventory = json.loads((DATA / 'hiera_tiny_keys.json').read_text())
    assert build_from_inventory(inventory)[1]
    inventory[-1]['shape'] = [1]
    assert not build_from_inventory(inventory)[1]


def test_inventory_when_the_trunk_is_unknown_is_refused():
    entry = {'name': 'model.sam2_model.image_encoder.trunk.pos_embed', 'shape': [1, 7, 7, 7]}
    with pytest.raises(CheckpointError, match='7 channels'):
        build_from_inventory([entry])


def test_parity_when_files_are_missing_says_what_is_expected(tmp_path):
    with pytest.raises(CheckpointError, match='inventory'):
        load_and_run(tmp_path / 'none.npz', tmp_path / 'none.json')

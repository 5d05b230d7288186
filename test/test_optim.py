# SPDX-License-Identifier: Apache-2.0
"""Parameters go to the right optimiser, and the schedule has the right corners."""

import pytest

torch = pytest.importorskip('torch')
from torch import nn  # noqa: E402

from samtok_ros.training.optim import (  # noqa: E402
    WeightAverage,
    build_optimizers,
    learning_rate_factor,
    set_learning_rate_,
    split_parameters,
)


class _Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 4)
        self.linear = nn.Linear(4, 3)
        self.head = nn.Linear(3, 5)
        self.image = nn.Conv2d(3, 4, 2)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)


def test_split_parameters_when_tables_heads_and_kernels_then_only_hidden_matrices_are_matrices():
    model = _Model()
    matrices, others = split_parameters(model, keep_out=lambda name: name.startswith('head'))
    assert [id(p) for p in matrices] == [id(model.linear.weight)]
    assert len(others) == 1 + 1 + 2 + 2


@pytest.mark.parametrize(('progress', 'factor'), [
    (0.0, 0.02),   # never quite zero
    (0.05, 0.5),   # half way up
    (0.1, 1.0),    # the peak
    (0.55, 0.5),   # half way down
    (1.0, 0.0),    # the end
])
def test_learning_rate_factor_when_along_the_way_then_linear(progress, factor):
    assert learning_rate_factor(progress, warm_up=0.1) == pytest.approx(factor)


def test_build_optimizers_when_stepped_then_loss_falls_and_rates_follow():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
    optimizers = build_optimizers(model, 0.02, 0.01, 0.0)
    assert [type(o).__name__ for o in optimizers] == ['Muon', 'AdamW']
    points = torch.randn(32, 6)
    losses = []
    for _ in range(60):
        loss = (model(points) - points).square().mean()
        loss.backward()
        losses.append(loss.item())
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert losses[-1] < 0.5 * losses[0]
    set_learning_rate_(optimizers, 0.5)
    assert [o.param_groups[0]['lr'] for o in optimizers] == [0.01, 0.005]


def test_weight_average_when_weights_move_then_follows_slowly():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = WeightAverage(model, decay=0.9)
    nn.init.ones_(model.weight)
    for _ in range(200):
        average.update(model)
    assert 0.99 < average.weights['weight'].item() <= 1.0


@pytest.mark.parametrize('device', ['cpu', 'meta'])
def test_weight_average_when_a_run_goes_on_then_it_stays_on_the_device_of_the_model(device):
    moved = nn.Linear(2, 1)
    first = WeightAverage(moved)
    nn.init.ones_(moved.weight)
    first.update(moved)
    # As a checkpoint comes from a file: in host memory.
    model = nn.Linear(2, 1, device=device)
    second = WeightAverage(model)
    second.load_state_({'model': {}, **first.state()})
    assert {weight.device.type for weight in second.weights.values()} == {device}
    second.update(model)
    assert second.step == 2
    if device == 'cpu':
        third = WeightAverage(model)
        third.load_state_(first.state())
        assert torch.equal(third.weights['weight'], first.weights['weight'])
        assert third.weights['weight'] is not first.weights['weight']

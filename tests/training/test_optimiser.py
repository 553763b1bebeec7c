"""Muon: what it does to a matrix, which weights it turns, that it learns; what is exported."""

import copy

import pytest
import torch
from torch import nn

from stemweave.models.refiner import MaskRefiner
from stemweave.training.optimiser import (
    STEP_RMS,
    Muon,
    WeightAverage,
    is_inner,
    make_optimiser,
    orthogonalised,
)
from stemweave.training.stage_settings import OptimiserSettings


def muon(network: nn.Module) -> torch.optim.Optimizer:
    settings = OptimiserSettings(kind="muon", learning_rate=0.1, weight_decay=0.0)
    return make_optimiser(network, settings)


def test_singular_values_end_near_one():
    generator = torch.Generator().manual_seed(0)
    for shape in ((16, 40), (40, 16)):
        matrix = torch.randn(shape, generator=generator) * torch.logspace(0, -2, shape[1])
        values = torch.linalg.svdvals(orthogonalised(matrix))
        assert values.min() > 0.6 and values.max() < 1.3


def test_a_step_has_the_size_of_adams_and_the_direction_of_the_gradient():
    layer = nn.Linear(64, 32)
    optimiser = Muon([{"params": [layer.weight]}], {id(layer.weight)}, lr=0.1, weight_decay=0.0)
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.randn(32, 64, generator=torch.Generator().manual_seed(1))
    optimiser.step()
    change = layer.weight.detach() - before
    assert 0.7 < change.square().mean().sqrt() / (0.1 * STEP_RMS * 0.9) < 1.3
    assert (change * layer.weight.grad).sum() < 0


def test_outer_layers_and_vectors_stay_with_adamw():
    refiner = MaskRefiner(4, 32, block_channels=(16, 32), attention_levels=(1,))
    inner = {name for name, one in refiner.named_parameters() if is_inner(name, one)}
    assert "down_blocks.0.0.conv1.weight" in inner and "downsamplers.0.weight" in inner
    outer = {"conv_in.weight", "conv_out.weight", "norm_out.weight", "conv_out.bias"}
    assert not inner & (outer | {"band_embedding"})
    assert is_inner("coarse.0.conv1.weight", nn.Conv1d(4, 4, 3).weight)
    optimiser = muon(refiner)
    assert len(optimiser.param_groups) == 1
    for parameter in refiner.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    state = {name: optimiser.state[one].keys() for name, one in refiner.named_parameters()}
    assert all(("momentum" in keys) == (name in inner) for name, keys in state.items())
    assert all(parameter.grad is not None for parameter in refiner.parameters())


def test_it_learns_a_linear_map():
    torch.manual_seed(2)
    network, inputs = nn.Sequential(nn.Linear(8, 8)), torch.randn(64, 8)
    targets = inputs @ torch.randn(8, 8)
    optimiser = muon(network)
    losses = []
    for _ in range(200):
        loss = (network(inputs) - targets).square().mean()
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < 0.05 * losses[0]


def test_a_loaded_state_goes_on_as_if_never_saved():
    def steps(optimiser: torch.optim.Optimizer, network: nn.Module, seeds: range) -> None:
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            for parameter in network.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimiser.step()

    network = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
    resumed = copy.deepcopy(network)
    optimiser = muon(network)
    steps(optimiser, network, range(3))
    state = copy.deepcopy(optimiser.state_dict())
    resumed.load_state_dict(network.state_dict())
    steps(optimiser, network, range(3, 5))
    other = muon(resumed)
    other.load_state_dict(state)
    steps(other, resumed, range(3, 5))
    assert torch.equal(network[0].weight, resumed[0].weight)


def test_a_share_of_the_first_weights():
    first, weights = torch.tensor([1.0, 2.0]), torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    plain = WeightAverage([weights], 0.9, 0.0, foreach=False)
    shared = WeightAverage([weights], 0.9, 0.25, foreach=False)
    for step in range(5):
        weights.data += step
        for average in (plain, shared):
            average.step([weights])
    again = WeightAverage([weights], 0.9, 0.25, foreach=False)
    again.load_state_dict(shared.state_dict())
    averages = []
    for average in (plain, shared, again):
        exported = torch.nn.Parameter(torch.zeros(2))
        average.copy_to([exported])
        averages.append(exported.data)
    assert not torch.allclose(averages[0], first)
    assert torch.allclose(averages[1], 0.25 * first + 0.75 * averages[0])
    assert torch.equal(averages[1], averages[2])
    with pytest.raises(ValueError, match="no first weights"):
        again.load_state_dict(plain.state_dict())

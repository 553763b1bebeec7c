"""What is exported lies between the moving average and the first weights, also after a resume."""

import pytest
import torch

from stemweave.training.optimiser import WeightAverage


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

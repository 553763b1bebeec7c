"""Discriminators tell real from fake; one backward pass gives both sides their own gradients."""

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from stemweave.training.adversarial import Adversary
from stemweave.training.discriminators import (
    Discriminators,
    PatchDiscriminator,
    discriminator_loss,
    feature_distance,
    generator_loss,
    waveform_discriminators,
)
from stemweave.training.losses import multi_resolution_mel_distance
from stemweave.training.stage_settings import AdversarialSettings


def small_waveform_discriminators() -> Discriminators:
    torch.manual_seed(0)
    return waveform_discriminators(periods=(2, 3), n_ffts=(128, 256), channels=2)


def test_losses_of_known_scores():
    def judged(score: float, feature: float = 0.0):
        return [(torch.full((2, 5), float(score)), [torch.full((2, 3), feature)])]

    assert discriminator_loss(judged(1), judged(0), "least_squares") == 0
    assert discriminator_loss(judged(0.5), judged(0.5), "least_squares") == 0.5
    assert discriminator_loss(judged(2), judged(-2), "hinge") == 0
    assert discriminator_loss(judged(0), judged(0), "hinge") == 2
    assert generator_loss(judged(1), "least_squares") == 0
    assert generator_loss(judged(0) + judged(3), "least_squares") == 1 + 4
    assert generator_loss(judged(3) + judged(1), "hinge") == -4
    assert feature_distance(judged(0, 1.0), judged(5, 3.0)) == 2


def test_every_waveform_discriminator_has_its_own_view():
    waveform = torch.randn(2, 1001, generator=torch.Generator().manual_seed(0))
    judged = small_waveform_discriminators()(waveform)
    assert len(judged) == 4
    # rows of a folded picture: ceil(1001 / period) samples, strided by 3 four times
    assert [score.shape[-1] for score, _ in judged[:2]] == [2, 3]
    assert judged[2][0].shape[2] == 1001 // 32 + 1 and judged[3][0].shape[2] == 1001 // 64 + 1
    assert all(score.shape[0] == 2 and len(features) == 5 for score, features in judged)


def test_a_patch_sees_its_place_only():
    torch.manual_seed(0)
    patches = PatchDiscriminator(channels=4, num_layers=2)
    nn.Module.requires_grad_(patches, False)
    log_mel = torch.randn(1, 1, 128, 64).requires_grad_()
    score, features = patches(log_mel)
    assert score.shape == (1, 1, 30, 14) and len(features) == 3
    for norm in (m for m in patches.modules() if isinstance(m, nn.GroupNorm)):
        norm.eval().forward = lambda data: data  # it sees everything, by its mean and variance
    score, _ = patches(log_mel)
    score[0, 0, 15, 7].backward()
    seen = torch.nonzero(log_mel.grad[0, 0])
    extent = seen.amax(0) - seen.amin(0) + 1
    assert (extent <= 34).all() and (extent > 20).all()


def test_one_backward_pass_gives_both_gradients():
    settings = AdversarialSettings(weight=0.5, feature_weight=2.0, start_step=3)
    adversary = Adversary(small_waveform_discriminators(), settings)
    adversary.prepare(Accelerator(cpu=True), 0.0, lambda step: 0.5)
    generator = torch.Generator().manual_seed(1)
    real = torch.randn(2, 600, generator=generator)
    fake = torch.randn(2, 600, generator=generator).requires_grad_()
    nothing, figures = adversary.loss(fake, real, step=2)
    assert nothing == 0 and figures == {}

    total, figures = adversary.loss(fake, real, step=3)
    total.backward()
    own = discriminator_loss(
        adversary.discriminators(real), adversary.discriminators(fake.detach()), "least_squares"
    )
    parameters = list(adversary.discriminators.parameters())
    for parameter, expected in zip(parameters, torch.autograd.grad(own, parameters), strict=True):
        assert torch.allclose(parameter.grad, expected, atol=1e-6)
    judged = adversary.discriminators(fake)
    fooling = 0.5 * (
        generator_loss(judged, "least_squares")
        + 2.0 * feature_distance(adversary.discriminators(real), judged)
    )
    (expected,) = torch.autograd.grad(fooling, fake)
    assert torch.allclose(fake.grad, expected, atol=1e-6) and expected.abs().max() > 0
    assert figures["discriminator"] == pytest.approx(own.item())
    assert total.item() == pytest.approx((fooling + own).item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["least_squares", "hinge"])
def test_discriminators_learn_to_tell_noise_from_tones(kind: str):
    settings = AdversarialSettings(learning_rate=3e-3, loss=kind)
    adversary = Adversary(small_waveform_discriminators(), settings)
    adversary.prepare(Accelerator(cpu=True), 0.0, lambda step: 1.0)
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(600) / 16000

    def figures(step: int) -> float:
        frequency = 200 + 400 * torch.rand(4, 1, generator=generator)
        tones = 0.3 * torch.sin(2 * torch.pi * frequency * time)
        noise = 0.2 * torch.randn(4, 600, generator=generator)
        loss, found = adversary.loss(noise, tones, step)
        loss.backward()
        adversary.clip(10.0)
        adversary.update(step)
        return found["discriminator"]

    first = figures(0)
    losses = [figures(step) for step in range(1, 40)]
    assert sum(losses[-5:]) / 5 < 0.6 * first


def test_mel_distance_forgives_what_moves_within_a_block():
    target = torch.randn(2, 1, 32, 16, generator=torch.Generator().manual_seed(0))
    assert multi_resolution_mel_distance(target, target) == 0
    rolled = target.unflatten(2, (4, 8)).flip(3).flatten(2, 3)  # each 8 frames backwards
    shuffled = target[:, :, torch.randperm(32, generator=torch.Generator().manual_seed(0))]
    blocks = ((8, 1),)
    assert multi_resolution_mel_distance(rolled, target, blocks) < 1e-5
    assert multi_resolution_mel_distance(shuffled, target, blocks) > 0.1
    # half the magnitude everywhere: convergence 0.5 and a logarithm of ln 2, at every resolution
    half = multi_resolution_mel_distance(target - torch.tensor(2.0).log(), target).item()
    assert half == pytest.approx(0.5 + 0.693, abs=0.001)
    assert torch.isfinite(multi_resolution_mel_distance(target + 200, target))

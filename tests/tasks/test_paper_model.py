"""Tasks with a model of the paper's kind: whole windows, mono stems, clipped mixtures."""

from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler

from stemweave.checkpoints.importer import PAPER_SCHEDULE
from stemweave.model import StemModel
from stemweave.models.log_mel import LogMel
from stemweave.models.unet3d import UNet3D
from stemweave.models.vocoder import SpectralVocoder
from tests.tasks.test_tasks import noise, seeded

SEGMENT_FRAMES = 64


@pytest.fixture(scope="module")
def pipe() -> StemModel:
    """``UNet3D`` and ``AutoencoderKL`` with random weights and a window of 0.64 s."""
    torch.manual_seed(0)
    denoiser = UNet3D(
        latent_channels=2, model_channels=32, channel_mult=(1, 1), num_res_blocks=1,
        attention_resolutions=(2,),
    )  # fmt: skip
    torch.nn.init.normal_(denoiser.out[2].weight, std=0.05)
    return StemModel(
        LogMel(n_fft=512, win_length=512, num_mels=16, segment_frames=SEGMENT_FRAMES),
        AutoencoderKL(
            in_channels=1, out_channels=1, latent_channels=2, block_out_channels=(8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
            layers_per_block=1, norm_num_groups=4,
        ),
        denoiser,
        DDIMScheduler(**PAPER_SCHEDULE),
        SpectralVocoder(
            num_mels=16, hop_length=160, coarse_channels=16, coarse_blocks=1, fine_channels=16,
            fine_blocks=1,
        ),
        clip_mixture=True, separation_steps=2, generation_steps=2, eta=1.0, sample_posterior=True,
    )  # fmt: skip


def test_every_task_gives_the_network_whole_windows(
    pipe: StemModel, monkeypatch: pytest.MonkeyPatch
):
    heights = []
    forward = UNet3D.forward
    monkeypatch.setattr(
        UNet3D, "forward",
        lambda self, latents, *rest: heights.append(latents.shape[-2]) or forward(
            self, latents, *rest
        ),
    )  # fmt: skip
    short = {"bass": noise(1, 1600), "drums": noise(1, 1600, seed=1)}
    arranged = pipe.arrange(short, 16000, generator=seeded())
    assert torch.equal(arranged["bass"], short["bass"])
    assert arranged["piano"].shape == (1, 1600) and arranged["piano"].abs().max() > 0
    pipe.arrange({"bass": noise(1, 12_000)}, 16000, generator=seeded())  # more than one window
    pipe.extend(short, 16000, seconds=0.1, generator=seeded())
    pipe.edit(short, 16000, renew={"bass": (0.02, 0.06)}, generator=seeded())
    pipe.generate(0.1, generator=seeded())
    pipe.separate(noise(1, 1600), 16000, generator=seeded())
    assert set(heights) == {SEGMENT_FRAMES // 4} == {pipe.window_positions}


def test_a_silent_channel_is_silent_in_every_vocoded_stem(pipe: StemModel):
    left = noise(1, 10_240)
    mono = pipe.separate(left, 16000, method="vocoder", generator=seeded())
    for level in (1.0, 1e-4):
        mixture = level * torch.cat([left, torch.zeros_like(left)])
        stems = pipe.separate(mixture, 16000, method="vocoder", generator=seeded())
        for name, stem in stems.items():
            assert stem[1].abs().max() == 0 and stem[0].abs().max() > 0, name
    both = pipe.separate(left.expand(2, -1), 16000, method="vocoder", generator=seeded())
    for name, stem in both.items():
        assert torch.equal(stem[0], stem[1]) and torch.allclose(stem[:1], mono[name], atol=1e-6)


def test_a_vocoded_stem_has_the_mixtures_balance(pipe: StemModel):
    left = noise(1, 10_240)
    mixture = torch.cat([left, 0.1 * left])
    stems = pipe.separate(mixture, 16000, method="vocoder", generator=seeded())
    for stem in stems.values():
        assert torch.allclose(stem[1], 0.1 * stem[0], atol=1e-6)


def test_the_mixture_is_clipped_before_its_mel(pipe: StemModel):
    loud = 20 * noise(1, 10_240)
    as_loud = pipe.separate(loud, 16000, method="vocoder", generator=seeded())
    clipped = pipe.separate(loud.clamp(-1, 1), 16000, method="vocoder", generator=seeded())
    assert torch.equal(as_loud["bass"], clipped["bass"])
    pipe.config = replace(pipe.config, clip_mixture=False)
    unclipped = pipe.separate(loud, 16000, method="vocoder", generator=seeded())
    pipe.config = replace(pipe.config, clip_mixture=True)
    assert not torch.equal(unclipped["bass"], clipped["bass"])


def test_windows_of_a_longer_mixture_are_whole(pipe: StemModel):
    """A mixture a little longer than a window is heard in two whole ones, not in padded halves."""
    read: list[tuple[int, int]] = []
    mixture = noise(1, 12_000)

    def reader(start: int, length: int) -> torch.Tensor:
        read.append((start, length))
        return mixture[:, start : start + length]

    blocks = list(pipe.separate_blocks(reader, 12_000, 16000, generator=seeded()))
    assert sum(block["bass"].shape[-1] for block in blocks) == 12_000
    assert read == [(0, 10_240), (1_760, 10_240)]

"""Generation: a new piece of any length, stems and their sum (paper, Section 3.2; w = 0)."""

from __future__ import annotations

import torch
from torch import Tensor

from stemweave.audio.limiter import limited
from stemweave.audio.stereo import drawn_side, placed
from stemweave.audio.waveforms import checked
from stemweave.models.parts import Parts
from stemweave.music.drawing import at_tempo
from stemweave.music.lead_sheet import DEFAULT_METRE, LeadSheet
from stemweave.music.score import Score
from stemweave.stems import MIXTURE
from stemweave.tasks import requests
from stemweave.tasks.conditioning import Conditioning, conditioning_of
from stemweave.tasks.piece import piece_latents
from stemweave.tasks.sampling import Sampling
from stemweave.tasks.spectra import bounded, decode, decode_channels, from_model_rate, vocode
from stemweave.tasks.steadiness import steady


def generate(
    parts: Parts,
    seconds: float,
    sampling: Sampling,
    *,
    tempo_bpm: float | None = None,
    sheet: LeadSheet | None = None,
    score: Score | None = None,
    sample_rate: int | None = None,
    mono: bool = False,
) -> dict[str, Tensor]:
    """A new piece: ``new_piece`` of a checked request; see ``StemModel.generate``."""
    requests.check_seconds(seconds)
    sampling = sampling.checked(parts, "generate")
    requests.check_tempo(tempo_bpm, parts.takes_sheets)
    if tempo_bpm is not None:
        sheet = at_tempo(sheet or LeadSheet(metre=DEFAULT_METRE), tempo_bpm)
    conditioning = conditioning_of(parts, sheet, score, sampling, seconds, new_stems=parts.stems)
    rate = sample_rate or parts.output_rate
    requests.check_rate(rate)
    return new_piece(parts, seconds, rate, sampling, conditioning, mono=mono)


def new_piece(
    parts: Parts,
    seconds: float,
    sample_rate: int,
    sampling: Sampling,
    conditioning: Conditioning | None,
    *,
    mono: bool = False,
) -> dict[str, Tensor]:
    """Waveforms (channels, samples) of every stem and of the mixture.

    Two channels of models that play in ``stereo`` or were trained so, unless ``mono``. Moments of
    the mixture above full scale are turned down (``audio.limiter``).
    """
    names = list(parts.denoiser.config.stems)
    num_samples = round(seconds * sample_rate)
    heard_samples = -(-num_samples * parts.sample_rate // sample_rate)
    height = max(parts.positions_for(heard_samples), parts.window_positions)
    shape = (len(names), parts.denoiser.config.latent_channels, height, parts.latent_bands)
    nothing_given = torch.zeros(len(names), height, dtype=torch.bool)
    latents = piece_latents(
        parts,
        torch.zeros(shape),
        nothing_given,
        sampling,
        conditioning=conditioning,
    )
    log_mels = decode(parts, latents)[:, None] if mono else decode_channels(parts, latents)
    rows = [name for name in names for _ in range(log_mels.shape[1])]
    window = parts.log_mel.config.segment_frames
    steadied = steady(parts, log_mels.flatten(0, 1), rows, conditioning, first=window)
    log_mels = bounded(parts, steadied.unflatten(0, log_mels.shape[:2]))  # (S, channels, F, M)
    played = vocode(parts, log_mels.flatten(0, 1), rows)
    at_rate = from_model_rate(played, parts.output_rate, sample_rate, num_samples)
    waveforms = at_rate.unflatten(0, log_mels.shape[:2])
    if parts.config.stereo and not mono and parts.channels == 1:
        side = drawn_side({}, sampling.generator)
        stems_of_channels = zip(at_rate, names, strict=True)
        waveforms = torch.stack([placed(*of, side, sample_rate) for of in stems_of_channels])
    waveforms = limited(waveforms, sample_rate)
    stems = dict(zip(names, waveforms, strict=True))
    return checked({**stems, MIXTURE: waveforms.sum(dim=0)}, num_samples)

"""Analysis: the lead sheet of a recording."""

from __future__ import annotations

import torch
from torch import Tensor

from stemweave.audio.waveforms import exact_scale
from stemweave.models.analyser import Analysis, SongAnalyser
from stemweave.models.parts import Parts
from stemweave.music.lead_sheet import LeadSheet
from stemweave.music.tracking import FrameFindings, sheet_of_findings
from stemweave.tasks.spectra import to_model_rate

WINDOW_FRAMES, MARGIN_FRAMES = 6000, 600
"""What is analysed at once, and what is seen before and after it."""


def analyse(parts: Parts, waveform: Tensor, sample_rate: int) -> LeadSheet:
    """Beats, bars, metre, tempo, key and chords of a waveform (channels, samples) of any level."""
    network = parts.on_device("analyser")
    ordinary = waveform * exact_scale(waveform)
    samples = to_model_rate(ordinary, sample_rate, network.config.sample_rate)
    found = analyse_frames(network, samples.to(parts.compute_device))
    return sheet_of_findings(
        FrameFindings(
            beat=found.beat[0].sigmoid().cpu().numpy(),
            downbeat=found.downbeat[0].sigmoid().cpu().numpy(),
            metre=found.metre[0].mean(dim=0).cpu().numpy(),
            tones=found.tones[0].sigmoid().cpu().numpy(),
            bass=found.bass[0].softmax(dim=1).cpu().numpy(),
            root=found.root[0].softmax(dim=1).cpu().numpy(),
            metres=network.config.metres,
            frames_per_s=network.config.sample_rate / network.config.hop_length,
        ),
        waveform.shape[-1] / sample_rate,
    )


@torch.inference_mode()
def analyse_frames(network: SongAnalyser, samples: Tensor) -> Analysis:
    """The analysis (B = 1) of samples (N,) of any length, in bounded memory."""
    hop = network.config.hop_length
    num_frames = len(samples) // hop + 1
    parts = []
    for start in range(0, num_frames, WINDOW_FRAMES):
        stop = min(start + WINDOW_FRAMES, num_frames)
        first = max(start - MARGIN_FRAMES, 0)
        window = samples[first * hop : (stop + MARGIN_FRAMES) * hop]
        found = network(window[None])
        parts.append([one[:, start - first : stop - first] for one in found])
    return Analysis(*(torch.cat(own, dim=1) for own in zip(*parts, strict=True)))

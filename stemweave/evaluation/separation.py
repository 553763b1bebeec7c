"""Separation scores per stem: log-mel MSE (the paper's) and L1, SI-SDR improvement, SDR.

Rows from the trivial answer (the mixture as every stem) over the limits of each part (VAE,
vocoder, masks from true stems) to the model's two methods. Shapes: segments (N, S, T).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from stemweave.audio.masking import separate_with_masks
from stemweave.evaluation import signal_measures as measures
from stemweave.evaluation.results import Evaluation, Example
from stemweave.evaluation.segments import audible_segments
from stemweave.evaluation.table import Table

MIXTURE_ROW = "mixture as every stem"
VAE_ROW = "VAE round trip"
VOCODER_ROW = "VAE + vocoder round trip"
ORACLE_ROW = "oracle mask"
VAE_ORACLE_ROW = "oracle mask through VAE"
MASK_ROW = "ours, mask"
VOCODED_ROW = "ours, vocoder"

MSE = "log-mel MSE"
L1 = "log-mel L1"
SI_SDRI = "SI-SDR improvement (dB)"
SI_SDR = "SI-SDR (dB)"
SDR = "SDR (dB)"
BLEED = "level in silent stems (dB relative to the mixture)"

Audio = tuple[Tensor | None, Tensor]
"""An estimate: waveforms (S, T), or None where a row has only spectra; log-mels (S, F, M)."""


class SegmentScores:
    """Collects single values: measure → row → stem → one number per segment (NaN: no value)."""

    def __init__(self, stems: Sequence[str]) -> None:
        self.stems = list(stems)
        self.values: dict[str, dict[str, dict[str, list[float]]]] = {}

    def add(self, measure: str, row: str, per_stem: Tensor) -> None:
        rows = self.values.setdefault(measure, {}).setdefault(row, {s: [] for s in self.stems})
        for stem, value in zip(self.stems, per_stem.tolist(), strict=True):
            rows[stem].append(value)

    def add_estimate(
        self, row: str, estimate: Audio, stems: Tensor, mixture: Tensor, log_mel: Tensor
    ) -> None:
        """Score one segment: true ``stems`` (S, T), ``mixture`` (T,), true ``log_mel`` (S, F, M).

        Silent stems (``signal_measures.SILENCE_DBFS``) have no SI-SDR and no SDR; there the level
        of the estimate relative to the mixture is collected instead.
        """
        waveforms, estimated_mel = estimate
        self.add(MSE, row, measures.log_mel_mse(estimated_mel, log_mel))
        self.add(L1, row, measures.log_mel_l1(estimated_mel, log_mel))
        if waveforms is None:
            return
        silent = measures.is_silent(stems)
        none = torch.full((len(stems),), math.nan, dtype=torch.float64)
        heard = ~silent
        before = measures.si_sdr_db(mixture.expand_as(stems)[heard], stems[heard])
        after = measures.si_sdr_db(waveforms[heard], stems[heard])
        self.add(SI_SDRI, row, none.masked_scatter(heard, after - before))
        self.add(SI_SDR, row, none.masked_scatter(heard, after))
        sdr = measures.sdr_db(waveforms[heard], stems[heard]) if heard.any() else after
        self.add(SDR, row, none.masked_scatter(heard, sdr))
        level = measures.rms_dbfs(waveforms[silent]) - measures.rms_dbfs(mixture)
        self.add(BLEED, row, none.masked_scatter(silent, level.clamp(min=-100)))

    def fill(self, table: Table, songs: Sequence[str]) -> None:
        """Means over segments, intervals over songs, then the mean of the stems' means."""
        for measure, rows in self.values.items():
            for row, per_stem in rows.items():
                for stem, values in per_stem.items():
                    table.put_samples(measure, row, stem, values, songs)
            table.put_mean_column(measure)


def vae_round_trip(vae: Any, log_mel: Tensor) -> Tensor:
    """Log-mels (N, F, M) encoded to the posterior's mean and decoded again."""
    return vae.decode(vae.encode(log_mel[:, None]).latent_dist.mode()).sample[:, 0]


def reference_rows(pipe: Any, stems: Tensor, mixture: Tensor, log_mel: Tensor) -> dict[str, Audio]:
    """The rows without a denoiser for ``stems`` (S, T), ``mixture`` (T,), ``log_mel`` (S, F, M)."""

    def measured(waveforms: Tensor) -> Audio:
        return waveforms, pipe.log_mel(waveforms)

    decoded = vae_round_trip(pipe.vae, log_mel)
    rows: dict[str, Audio] = {
        MIXTURE_ROW: measured(mixture.expand_as(stems)),
        VAE_ROW: (None, decoded),
        VOCODER_ROW: measured(pipe.vocoder(decoded)[:, : stems.shape[-1]]),
    }
    for row, spectra in ((ORACLE_ROW, log_mel), (VAE_ORACLE_ROW, decoded)):
        masked = separate_with_masks(pipe.log_mel, mixture[None], spectra)
        rows[row] = measured(masked[:, 0])
    return rows


def model_row(
    pipe: Any, mixture: Tensor, method: str, settings: dict[str, Any], seed: int
) -> Audio:
    """The model's stems (S, T) for ``mixture`` (T,) by ``method`` and their log-mels."""
    separated = pipe.separate(
        mixture[None],
        pipe.log_mel.config.sample_rate,
        method=method,
        generator=torch.Generator().manual_seed(seed),
        **settings,
    )
    waveforms = torch.stack([separated[stem][0] for stem in pipe.denoiser.config.stems])
    return waveforms, pipe.log_mel(waveforms)


@torch.inference_mode()
def evaluate_separation(
    pipe: Any,
    songs: Sequence[Path],
    num_segments: int | None = 48,
    *,
    steps: int | None = None,
    guidance: float | None = None,
    methods: Sequence[str] = ("mask", "vocoder"),
    references: bool = True,
    seed: int = 0,
    num_examples: int = 0,
    progress: bool = False,
) -> Evaluation:
    """Score ``pipe`` on ``num_segments`` windows evenly spaced over ``songs`` (None: all).

    Args:
        steps, guidance: passed to ``pipe.separate`` where given; its defaults otherwise.
        methods: the model's rows, of ``"mask"`` and ``"vocoder"``; may be empty.
        references: also the rows that need no denoiser.
        seed: segment i draws its noise from ``seed + i``.
        num_examples: the first segments' waveforms are kept for the report.

    Raises ``InputError`` where no song has an audible window.
    """
    config = pipe.log_mel.config
    stem_names = list(pipe.denoiser.config.stems)
    duration_s = pipe.log_mel.segment_samples / config.sample_rate
    named: dict[str, Any] = {"steps": steps, "guidance": guidance}
    settings = {name: value for name, value in named.items() if value is not None}
    scores, segments, examples = SegmentScores(stem_names), [], []
    found = audible_segments(songs, stem_names, config.sample_rate, duration_s, num_segments)
    for index, (segment, stems) in enumerate(
        tqdm(found, total=num_segments, desc="separation", disable=not progress)
    ):
        mixture = stems.sum(0)
        log_mel = pipe.log_mel(stems)
        rows = reference_rows(pipe, stems, mixture, log_mel) if references else {}
        for method in methods:
            row = MASK_ROW if method == "mask" else VOCODED_ROW
            rows[row] = model_row(pipe, mixture, method, settings, seed + index)
        for row, estimate in rows.items():
            scores.add_estimate(row, estimate, stems, mixture, log_mel)
        if index < num_examples:
            kept = {row: audio for row, (audio, _) in rows.items() if audio is not None}
            tracks = {
                row: dict(zip(stem_names, audio, strict=True))
                for row, audio in {"true stems": stems, **kept}.items()
            }
            examples.append(Example(segment.name, {"mixture": {"mixture": mixture}, **tracks}))
        segments.append(segment)
    table = Table("Separation", notes=_notes(duration_s, scores))
    scores.fill(table, [segment.song for segment in segments])
    table.metadata.update(
        segments=len(segments), songs=len({s.folder for s in segments}), seed=seed, **settings
    )
    return Evaluation(table, examples, config.sample_rate)


def _notes(duration_s: float, scores: SegmentScores) -> list[str]:
    any_row = next(iter(scores.values.get(SI_SDRI, {}).values()), {})
    heard = {s: sum(math.isfinite(v) for v in values) for s, values in any_row.items()}
    return [
        f"Segments of {duration_s:.2f} s from the songs' grid; mono, at the model's rate; the "
        "mixture is the plain sum of the stems.",
        "SI-SDR and SDR only over stems with an RMS of at least "
        f"{measures.SILENCE_DBFS:.0f} dBFS in the segment ("
        + ", ".join(f"{stem}: {count}" for stem, count in heard.items())
        + "); log-mel errors over all stems.",
        "Improvement = SI-SDR of the estimate minus SI-SDR of the mixture. Brackets: 95 % "
        "bootstrap interval of the mean, whole songs resampled. The last column is the mean of "
        "the stems' means.",
    ]

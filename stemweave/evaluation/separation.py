"""Separation scores per stem: log-mel MSE (the paper's) and L1, SI-SDR improvement, SDR.

Rows from the trivial answer (the mixture as every stem) over the limits of each part (VAE,
vocoder, masks from true stems) to the model's methods. Shapes: segments (N, S, T).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from stemweave.audio.masking import separate_with_masks
from stemweave.data.songs import Song
from stemweave.diffusion.schedulers import sampler_name
from stemweave.errors import InputError
from stemweave.evaluation import signal_measures as measures
from stemweave.evaluation.results import Evaluation, Example
from stemweave.evaluation.segments import model_segments
from stemweave.evaluation.systems import Separator, pipeline_separator
from stemweave.evaluation.table import MEANING, Samples, Table
from stemweave.models.log_mel import LogMel
from stemweave.models.vocoder import resampled
from stemweave.tasks.sampling import Sampling
from stemweave.tasks.spectra import vocode
from stemweave.tasks.window_estimates import separated_spectra

MIXTURE_ROW = "mixture as every stem"
VAE_ROW = "VAE round trip"
VOCODER_ROW = "VAE + vocoder round trip"
ORACLE_ROW = "oracle mask"
VAE_ORACLE_ROW = "oracle mask through VAE"
SPECTRA_ROW = "ours, decoded spectra"
MASK_ROW = "ours, mask"
DIFFUSION_ROW = "ours, diffusion's masks"
VOCODED_ROW = "ours, vocoder"

METHOD_ROWS = {
    "spectra": SPECTRA_ROW,
    "mask": MASK_ROW,
    "diffusion": DIFFUSION_ROW,
    "vocoder": VOCODED_ROW,
}

MSE = "log-mel MSE"
L1 = "log-mel L1"
PAPER_MSE = "log-mel MSE, paper's front end"
PAPER_L1 = "log-mel L1, paper's front end"
SI_SDRI = "SI-SDR improvement (dB)"
SI_SDR = "SI-SDR (dB)"
SDR = "SDR (dB)"
SI_SDRI_SOUNDING = "SI-SDR improvement, every stem that sounds (dB)"
LONE = "SI-SDR of stems that are alone (dB)"
BLEED = "level in silent stems (dB relative to the mixture)"

Audio = tuple[Tensor | None, Tensor]
"""An estimate: waveforms (S, T), or None where a row has only spectra; log-mels (S, F, M).

Log-mels are at the model's level (``level_gain``)."""

Metric = Callable[[Tensor, Tensor, Tensor, int], Any]
"""Estimates (S, T), true stems (S, T), mixture (T,), rate → a number for every stem (S,)."""


@dataclass(frozen=True)
class Truth:
    """One segment: true stems (S, T), their sum (T,), their log-mels (S, F, M) at ``gain``."""

    stems: Tensor
    mixture: Tensor
    log_mel: Tensor
    gain: float


class SegmentScores:
    """Collects single values of each stem, one number per segment (NaN: no value).

    ``own_mel`` is the front end of the log-mels that are scored.
    """

    def __init__(
        self,
        stems: Sequence[str],
        sample_rate: int,
        own_mel: LogMel | None = None,
        metrics: Mapping[str, Metric] = {},
    ) -> None:
        self.stems, self.sample_rate, self.metrics = list(stems), sample_rate, metrics
        paper_mel = LogMel()
        self.paper_mel = paper_mel if paper_mel.config.sample_rate == sample_rate else None
        self.scores_paper_mels = own_mel is not None and is_paper_front_end(own_mel)
        self.values: Samples = defaultdict(list)

    def add(self, measure: str, row: str, per_stem: Tensor) -> None:
        for stem, value in zip(self.stems, per_stem.tolist(), strict=True):
            self.values[measure, row, stem].append(value)

    def add_estimate(self, row: str, estimate: Audio, truth: Truth) -> None:
        """Score one segment.

        SI-SDR and SDR are of stems that are mixed with others (``signal_measures.is_mixed``).
        Beside them: the improvement of all stems that sound, the SI-SDR of those that are alone,
        and the estimate's level relative to the mixture where the stem is silent.
        """
        waveforms, estimated_mel = estimate
        stems, mixture = truth.stems, truth.mixture
        self._add_mel_errors((MSE, L1), row, estimated_mel, truth.log_mel)
        if waveforms is None:
            if self.scores_paper_mels:
                self._add_mel_errors((PAPER_MSE, PAPER_L1), row, estimated_mel, truth.log_mel)
            return
        if self.paper_mel is not None:
            both = self.paper_mel(waveforms), self.paper_mel(stems)
            self._add_mel_errors((PAPER_MSE, PAPER_L1), row, *both)
        for name, metric in self.metrics.items():
            self.add(
                name, row, torch.as_tensor(metric(waveforms, stems, mixture, self.sample_rate))
            )
        silent, mixed = measures.is_silent(stems), measures.is_mixed(stems, mixture)
        alone = measures.is_alone(stems, mixture)
        none = torch.full((len(stems),), math.nan, dtype=torch.float64)
        after = measures.si_sdr_db(waveforms, stems).where(~silent, none)
        before = measures.si_sdr_db(mixture.expand_as(stems), stems)
        self.add(SI_SDRI, row, (after - before).where(mixed, none))
        self.add(SI_SDR, row, after.where(mixed, none))
        sdr = measures.sdr_db(waveforms[mixed], stems[mixed]) if mixed.any() else after[mixed]
        self.add(SDR, row, none.masked_scatter(mixed, sdr))
        self.add(SI_SDRI_SOUNDING, row, after - before)
        self.add(LONE, row, after.where(alone, none))
        level = measures.rms_dbfs(waveforms[silent]) - measures.rms_dbfs(mixture)
        self.add(BLEED, row, none.masked_scatter(silent, level.clamp(min=-100)))

    def _add_mel_errors(self, names: tuple[str, str], row: str, made: Tensor, true: Tensor) -> None:
        for name, error in zip(names, (measures.log_mel_mse, measures.log_mel_l1), strict=True):
            self.add(name, row, error(made, true))

    def fill(self, table: Table, songs: Sequence[str]) -> None:
        """Means over segments, intervals over songs, then the mean of the stems' means.

        A measure without any value, e.g. of lone stems where there are none, is left out.
        """
        finite = {at[0] for at, own in self.values.items() if any(map(math.isfinite, own))}
        table.put_all({at: own for at, own in self.values.items() if at[0] in finite}, songs)
        for measure in list(table.measures):
            table.put_mean_column(measure)


def is_paper_front_end(log_mel: LogMel) -> bool:
    """Whether log-mels are the paper's, windows of any length."""
    of_window = "segment_frames"
    paper = {key: value for key, value in LogMel().config.items() if not key.startswith("_")}
    return all(log_mel.config[key] == paper[key] for key in paper if key != of_window)


def level_gain(pipe: Any, mixture: Tensor) -> float:
    """Factor that brings ``mixture`` (T,) to the model's training level (1 if it has none)."""
    reference_rms = pipe.config.reference_rms
    if reference_rms is None:
        return 1.0
    return float(reference_rms / mixture.square().mean().sqrt())


def measured(pipe: Any, truth: Truth, waveforms: Tensor) -> Audio:
    """Stems (S, T) with their log-mels, to be scored against ``truth``."""
    return waveforms, pipe.log_mel(truth.gain * waveforms)


def vae_round_trip(vae: Any, log_mel: Tensor) -> Tensor:
    """Log-mels (N, F, M) encoded to the posterior's mean and decoded again."""
    return vae.decode(vae.encode(log_mel[:, None]).latent_dist.mode()).sample[:, 0]


def vocoded_at_model_rate(pipe: Any, log_mels: Tensor, stems: Sequence[str]) -> Tensor:
    """Waveforms (S, T) of the stems' log-mels (S, F, M), at the model's level, as tasks play."""
    num_samples = log_mels.shape[1] * pipe.log_mel.config.hop_length
    return resampled(vocode(pipe, log_mels, stems), num_samples)


def reference_rows(pipe: Any, truth: Truth, stems: Sequence[str]) -> dict[str, Audio]:
    """The rows without a denoiser."""
    decoded = vae_round_trip(pipe.vae, truth.log_mel)
    rows: dict[str, Audio] = {
        MIXTURE_ROW: measured(pipe, truth, truth.mixture.expand_as(truth.stems)),
        VAE_ROW: (None, decoded),
    }
    if pipe.vocoder is not None:
        vocoded = vocoded_at_model_rate(pipe, decoded, stems)[:, : truth.stems.shape[-1]]
        rows[VOCODER_ROW] = measured(pipe, truth, vocoded / truth.gain)
    for row, spectra in ((ORACLE_ROW, truth.log_mel), (VAE_ORACLE_ROW, decoded)):
        separated = separate_with_masks(pipe.log_mel, truth.mixture[None], spectra)
        rows[row] = measured(pipe, truth, separated[:, 0])
    return rows


def scored_stems(pipe: Any, songs: Sequence[Song]) -> list[str]:
    """The model's stems, and what it separates beside them if one of ``songs`` has it."""
    present = {stem for song in songs for stem in song.stems}
    return [stem for stem in pipe.separated_stems if stem in pipe.stems or stem in present]


def model_row(
    pipe: Any,
    truth: Truth,
    stems: Sequence[str],
    method: str,
    steps: int | None,
    guidance: float | None,
    seed: int,
) -> Audio:
    """The model's answer by ``method``, a key of ``METHOD_ROWS``."""
    if method == "spectra":
        sampling = Sampling(steps, guidance, generator=torch.Generator().manual_seed(seed))
        return None, separated_spectra(pipe, truth.gain * truth.mixture, sampling)
    separate = pipeline_separator(pipe, stems, method=method, steps=steps, guidance=guidance)
    return measured(pipe, truth, separate(truth.mixture, seed))


@torch.inference_mode()
def evaluate_separation(
    pipe: Any,
    songs: Sequence[Song],
    num_segments: int | None = 48,
    *,
    steps: int | None = None,
    guidance: float | None = None,
    methods: Sequence[str] | None = None,
    stems: Sequence[str] | None = None,
    others: Mapping[str, Separator] | None = None,
    metrics: Mapping[str, Metric] = {},
    references: bool = True,
    seed: int = 0,
    num_examples: int = 0,
    progress: bool = False,
) -> Evaluation:
    """Score ``pipe`` on ``num_segments`` windows evenly spaced over ``songs`` (None: all).

    Args:
        steps, guidance: passed to ``pipe.separate`` where given; its defaults otherwise.
        methods: the model's rows, keys of ``METHOD_ROWS``; may be empty. None: all it has. Those
            that do not give all of ``stems`` are left out.
        stems: names of those scored; None: ``scored_stems``.
        others: further systems by the name of their row, for the same stems in the same order.
        metrics: further measures by name.
        references: also the rows that need no denoiser.
        seed: segment i draws its noise from ``seed + i``.
        num_examples: the first segments' waveforms are kept for the report.

    Raises ``InputError`` where no song has an audible window.
    """
    sample_rate = pipe.log_mel.config.sample_rate
    stem_names = scored_stems(pipe, songs) if stems is None else list(stems)
    scores = SegmentScores(stem_names, sample_rate, pipe.log_mel, metrics)
    folders, examples = [], []
    found = model_segments(pipe, songs, num_segments, stem_names)
    methods = ("spectra", *pipe.methods) if methods is None else methods
    if unknown := [method for method in methods if method not in METHOD_ROWS]:
        raise InputError(f"no method {unknown[0]}: there are {', '.join(METHOD_ROWS)}")
    if len(stem_names) > len(pipe.stems):
        methods = [method for method in methods if method == "mask"]
    for index, (segment, waveforms) in enumerate(
        tqdm(found, total=num_segments, desc="separation", disable=not progress)
    ):
        mixture = waveforms.sum(0)
        gain = level_gain(pipe, mixture)
        truth = Truth(waveforms, mixture, pipe.log_mel(gain * waveforms), gain)
        rows = reference_rows(pipe, truth, stem_names) if references else {}
        for method in methods:
            about = (method, steps, guidance, seed + index)
            rows[METHOD_ROWS[method]] = model_row(pipe, truth, stem_names, *about)
        for row, separate in (others or {}).items():
            rows[row] = measured(pipe, truth, separate(mixture, seed + index))
        for row, estimate in rows.items():
            scores.add_estimate(row, estimate, truth)
        if index < num_examples:
            kept = {row: audio for row, (audio, _) in rows.items() if audio is not None}
            tracks = {
                row: dict(zip(stem_names, audio, strict=True))
                for row, audio in {"true stems": waveforms, **kept}.items()
            }
            examples.append(Example(segment.name, {"mixture": {"mixture": mixture}, **tracks}))
        folders.append(str(segment.folder))
    table = Table("Separation", notes=[MEANING, _counted(scores, folders)])
    scores.fill(table, folders)
    table.metadata.update(
        segments=len(folders),
        songs=len(set(folders)),
        seed=seed,
        sampler=sampler_name(pipe.scheduler),
        steps=steps or pipe.config.separation_steps,
        guidance=pipe.config.separation_guidance if guidance is None else guidance,
    )
    return Evaluation(table, examples, sample_rate)


def _counted(scores: SegmentScores, songs: Sequence[str]) -> str:
    """In how many segments and songs each stem is mixed with others, which SI-SDR asks for."""
    row = next((row for measure, row, _ in scores.values if measure == SI_SDRI), "")
    counted = []
    for stem in scores.stems:
        values = zip(songs, scores.values.get((SI_SDRI, row, stem), ()), strict=False)
        mixed = [song for song, value in values if math.isfinite(value)]
        counted.append(f"{stem}: {len(mixed)} of {len(set(mixed))} songs")
    return f"Segments in which a stem is mixed with others: {', '.join(counted)}."

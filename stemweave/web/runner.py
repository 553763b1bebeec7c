"""Jobs as calls of the pipeline, from files to files: the only module here that knows the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from stemweave.diffusion.sampler import Progress
from stemweave.errors import InputError
from stemweave.io.batch import read_given, read_piece, separate_file
from stemweave.io.mixtures import Separation
from stemweave.io.piece import Piece
from stemweave.model import StemModel
from stemweave.music.drawing import lasting
from stemweave.music.folder import read_music, write_music
from stemweave.music.lead_sheet import SHEET_FILE, LeadSheet
from stemweave.music.midi import SCORE_FILE
from stemweave.music.score import Score, ScoreNote
from stemweave.stems import MIXTURE
from stemweave.tasks import requests
from stemweave.tasks.compose import drawn_sheet, found_sheet, summed, with_new_bars, with_new_stems
from stemweave.tasks.sampling import Sampling
from stemweave.web.answers import Limits, ModelAnswer
from stemweave.web.library import share_file
from stemweave.web.settings import Settings
from stemweave.web.tables import Version

Params = Mapping[str, Any]


class Runner:
    """Checks and runs jobs with one model in memory.

    Args:
        name: what the model is called in ``GET /api/model``.
    """

    def __init__(self, pipe: StemModel, name: str) -> None:
        self.pipe, self.name = pipe, name
        self.stems, self.separated_stems = pipe.stems, pipe.separated_stems

    def card(self, settings: Settings) -> ModelAnswer:
        """What the page needs to know of the model and the server."""
        config = self.pipe.config
        steps = {"steps": config.generation_steps}
        return ModelAnswer(
            name=self.name,
            stems=list(self.stems),
            separated_stems=list(self.separated_stems),
            sample_rate=self.pipe.output_rate,
            tasks=["separate", "generate", "arrange", "edit", "extend", "vary"],
            limits=Limits(
                max_minutes=settings.max_minutes,
                max_mb=settings.max_mb,
                max_queue=settings.max_queue,
                tempo_bpm=requests.TEMPO_RANGE_BPM if self.pipe.takes_sheets else None,
            ),
            keep_days=settings.keep_days,
            defaults={
                "separate": {
                    "method": self.pipe.methods[0],
                    "steps": config.separation_steps,
                    "guidance": config.separation_guidance,
                },
                "generate": {"seconds": 10.24, **steps},
                "arrange": steps,
                "edit": steps,
                "extend": {"seconds": 10.24, **steps},
                "vary": {"strength": 0.5, **steps},
            },
        )

    def check(self, task: str, params: Params, version: Version | None, max_seconds: float) -> None:
        """Raise ``InputError`` for a job that cannot succeed, before it waits in the queue.

        ``version`` is what it starts from; only ``generate`` needs none.
        """
        duration_s = version.num_samples / version.sample_rate if version else 0.0
        if task in ("generate", "extend"):
            begun_s = duration_s if task == "extend" else 0.0
            if begun_s + params["seconds"] > max_seconds:
                raise InputError(
                    f"the piece would be {begun_s + params['seconds']:g} s long: this server "
                    f"makes at most {max_seconds:g} s"
                )
        if task == "generate":
            requests.check_tempo(params.get("tempo_bpm"), self.pipe.takes_sheets)
            return
        if version is None:
            return
        shape = (version.channels, version.num_samples)
        piece = {name: torch.empty(shape, device="meta") for name in version.track_names}
        if task == "separate":
            method, guidance, steps = map(params.get, ("method", "guidance", "steps"))
            self.pipe.separation_method(method, guidance, steps)
        elif task == "arrange":
            for name in requests.known_stems(self.separated_stems, params["given"]):
                if name not in piece:
                    raise InputError(f"the version has no {name} that could be given")
            added = requests.known_stems(self.stems, params["add"] or ())
            known = set(params["given"]) & set(self.stems)
            if not known:
                raise InputError(f"give at least one of the stems {', '.join(self.stems)}")
            if len(known) == len(self.stems):
                raise InputError("all stems are given: there is none to add")
            if set(added) & set(params["given"]):
                raise InputError("a stem cannot be both given and added")
        elif task == "edit":
            requests.ranges_in_samples(self.stems, piece, version.sample_rate, params["renew"])
            self._check_notes(params.get("notes") or {}, params["renew"])
        elif task == "extend":
            requests.check_long_enough(piece, self.pipe.position_s, version.sample_rate)

    def run(
        self,
        task: str,
        params: Params,
        seed: int,
        source: Path | None,
        out: Path,
        progress: Progress,
    ) -> None:
        """Write ``out/<track>.wav`` for every stem and the mixture.

        ``source`` is the folder of the version to start from. Raises ``InputError`` for what the
        pipeline refuses and for files that cannot be written, and whatever ``progress`` raises.
        """
        generator = torch.Generator().manual_seed(seed)
        sampling = Sampling(params.get("steps"), generator=generator, progress=progress)
        if task == "generate":
            self._generate(params["seconds"], params.get("tempo_bpm"), seed, sampling, out)
            return
        assert source is not None
        if task == "separate":
            self._separate(params, seed, source, out, progress)
            return
        if task == "arrange":
            given = {name: source / f"{name}.wav" for name in params["given"]}
            waveforms, sample_rate = read_given(given)
        else:
            waveforms, sample_rate = read_piece(source, self.pipe)
        own = self._own_arguments(task, params)
        duration_s = next(iter(waveforms.values())).shape[-1] / sample_rate
        sheet, score = read_music(source)
        sheet = found_sheet(self.pipe, waveforms, sample_rate, sheet)
        score = self._score(task, params, sheet, score, duration_s, seed)
        if self.pipe.takes_sheets:
            own |= {"sheet": sheet, "score": score}
        result = getattr(self.pipe, task)(waveforms, sample_rate, sampling=sampling, **own)
        kept = [name for name in self._kept(task, params) if name in result and name in waveforms]
        made = {name: waveform for name, waveform in result.items() if name not in kept}
        Piece(made, sample_rate).save(out)
        for name in kept:
            share_file(source / f"{name}.wav", out / f"{name}.wav")
        if sheet is not None:
            sheet = lasting(sheet, result[MIXTURE].shape[-1] / sample_rate)
        write_music(out, sheet, score)

    def _separate(
        self, params: Params, seed: int, source: Path, out: Path, progress: Progress
    ) -> None:
        method = self.pipe.separation_method(params["method"])
        stems = self.pipe.stems_by(method)
        asked = Separation(
            stems,
            optional=[name for name in stems if name not in self.stems],
            method=method,
            guidance=params.get("guidance"),
            steps=params.get("steps"),
            seed=seed,
        )
        separate_file(self.pipe, source / f"{MIXTURE}.wav", out, asked, progress)
        for name in (f"{MIXTURE}.wav", SHEET_FILE, SCORE_FILE):
            if (source / name).exists():
                share_file(source / name, out / name)

    def _generate(
        self, seconds: float, tempo_bpm: float | None, seed: int, sampling: Sampling, out: Path
    ) -> None:
        """A new piece, under a sheet and with notes of its own where the model takes them."""
        pipe = self.pipe
        sheet = drawn_sheet(pipe, seconds, seed, LeadSheet(tempo_bpm=tempo_bpm))
        score = with_new_stems(pipe, sheet, None, pipe.stems, seed)
        conditions = {"tempo_bpm": tempo_bpm} if sheet is None else {"sheet": sheet, "score": score}
        pipe.generate(seconds, sampling=sampling, **conditions).save(out)
        write_music(out, sheet, score)

    def _score(
        self,
        task: str,
        params: Params,
        sheet: LeadSheet | None,
        score: Score | None,
        duration_s: float,
        seed: int,
    ) -> Score | None:
        """The notes of a task's result: those of ``score`` that stay, and what is written anew."""
        if task == "vary":
            return None
        if task == "arrange":
            added = params["add"] or set(self.stems) - set(params["given"])
            if score is not None:
                given = {stem: score.notes[stem] for stem in score.notes if stem in params["given"]}
                score = Score(given)
            return with_new_stems(self.pipe, sheet, score, added, seed)
        if task == "edit":
            return self._edited_score(params, sheet, score, duration_s, seed)
        renewed = dict.fromkeys(self.stems, (duration_s, duration_s + params["seconds"]))
        return with_new_bars(self.pipe, sheet, score, renewed, seed)

    def _edited_score(
        self,
        params: Params,
        sheet: LeadSheet | None,
        score: Score | None,
        duration_s: float,
        seed: int,
    ) -> Score | None:
        """``score`` with the notes that are given for renewed parts, or else new ones."""
        renewed = {
            name: (start, duration_s if end is None else end)
            for name, (start, end) in params["renew"].items()
        }
        notes = params.get("notes") or {}
        if notes and (sheet is None or sheet.beats_s is None):
            raise InputError("notes are counted in beats, and the piece has none: give it a tempo")
        written = {name: times for name, times in renewed.items() if name not in notes}
        if written:
            score = with_new_bars(self.pipe, sheet, score, written, seed)
        for name, given in notes.items():
            assert sheet is not None
            start_beat, end_beat = map(sheet.beat_at, renewed[name])
            played = [ScoreNote(**note) for note in given]
            score = (score or Score({})).with_notes(name, start_beat, end_beat, played)
        return score

    def _check_notes(
        self, notes: Mapping[str, list[dict[str, Any]]], renew: Mapping[str, object]
    ) -> None:
        if notes and not self.pipe.takes_sheets:
            raise InputError("this model plays no notes that are given")
        for name, given in notes.items():
            if name not in renew:
                raise InputError(f"notes of {name} are given, but no part of it is renewed")
            if any(note["end_beat"] < note["start_beat"] for note in given):
                raise InputError(f"a note of {name} ends before it starts")

    def analyse(self, folder: Path) -> LeadSheet:
        """What the analyser finds in the tracks of ``folder``; nothing without an analyser."""
        if not self.pipe.analyses:
            return LeadSheet()
        waveforms, sample_rate = read_piece(folder, self.pipe)
        return self.pipe.analyse(summed(self.pipe, waveforms), sample_rate)

    def _kept(self, task: str, params: Params) -> list[str]:
        """Stems that a task hands back as they were given, to the last sample."""
        if task == "arrange":
            return list(params["given"])
        if task == "edit":
            return [name for name in self.separated_stems if name not in params["renew"]]
        return []

    def _own_arguments(self, task: str, params: Params) -> dict[str, Any]:
        if task == "edit":
            return {"renew": {name: tuple(ends) for name, ends in params["renew"].items()}}
        own = {"arrange": "add", "extend": "seconds", "vary": "strength"}[task]
        return {own: params[own]}

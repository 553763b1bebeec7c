"""``stemweave train vae|denoiser|refiner|sharpener|vocoder CONFIG.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemweave.cli.options import with_options

if TYPE_CHECKING:
    from stemweave.training.settings import RunSettings

VAE, REFINER = Path("runs/vae/export"), Path("runs/refiner/export")
"""Of the runs that began last."""

app = typer.Typer(no_args_is_help=True, help="Train a part of the model; resumable.")

Config = Annotated[Path, typer.Argument(help="YAML file of settings, e.g. configs/bundled.yaml")]
RunFolder = Annotated[
    Path | None, typer.Option("--run", help="run folder; runs/<stage>-<hash of the settings>")
]
Minutes = Annotated[float, typer.Option(min=0, help="stop after so many minutes (0: never)")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="KEY=VALUE in place of the settings', e.g. denoiser.steps=500"),
]
Device = Annotated[str, typer.Option(help="auto or cpu")]
Init = Annotated[
    Path | None,
    typer.Option(help="model folder (or 'bundled') to train further, or a part's weights"),
]
Data = Annotated[
    list[str] | None, typer.Option("--data", help="songs, instead of the settings' data")
]
StemMap = Annotated[
    str | None, typer.Option("--map", help="new stems and those they take over, vocals=piano,...")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="say what it would take: memory, hours, data; no more")
]
Lora = Annotated[int | None, typer.Option(min=1, help="train matrices of this rank (LoRA) only")]


@dataclass(frozen=True)
class Run:
    """Options of every stage: its run's folder, and how it computes."""

    run: RunFolder = None
    minutes: Minutes = 0
    device: Device = "auto"
    changes: Changes = None

    def settings(
        self, stage: str, config: Path, init: Path | None, *base_options: Any
    ) -> tuple[RunSettings, Path]:
        """Settings and folder of a run, which is new if there are weights to start from.

        ``base_options`` of a stage that may start from a model are its data, stem map and LoRA.
        """
        from stemweave.training import finetune
        from stemweave.training.run_folder import require_new, run_folder
        from stemweave.training.start import prepare

        settings = prepare(config, self.changes)
        if base_options:
            settings = finetune.with_options(settings, init, *base_options)
        folder = run_folder(stage, settings, self.run)
        require_new(folder, init)
        return settings, folder

    def start(self, stage: Any, settings: RunSettings, folder: Path, songs: Any = None) -> None:
        """Train ``stage`` until it is done or stopped."""
        from stemweave.training.start import start

        start(stage, settings, folder, self.minutes, self.device, songs)


RUN = Run()
"""As it is where nothing is given."""


@app.command("vae")
@with_options
def train_vae(
    config: Config,
    init: Annotated[Path | None, typer.Option(help="autoencoder to start from")] = None,
    run: Run = RUN,
    dry_run: DryRun = False,
) -> None:
    """Train the autoencoder of log-mels."""
    from stemweave.training.identity import check_parts
    from stemweave.training.networks import autoencoder_in, load_weights
    from stemweave.training.stage_vae import VAEStage
    from stemweave.training.start import load_songs
    from stemweave.training.trial import forecast, require_network

    settings, folder = run.settings("vae", config, init)
    if dry_run:
        return typer.echo(forecast("vae", settings))
    check_parts(settings, vae=init)
    require_network("vae", settings, device=run.device)
    songs = load_songs(settings)
    stage = VAEStage(settings, *songs)
    if init is not None:
        load_weights(autoencoder_in(stage.network), "vae", init)
    run.start(stage, settings, folder, songs[0])


@app.command("denoiser")
@with_options
def train_denoiser(
    config: Config,
    vae: Annotated[Path | None, typer.Option(help=f"trained autoencoder; {VAE}")] = None,
    init: Init = None,
    data: Data = None,
    stem_map: StemMap = None,
    lora: Lora = None,
    vocoder: Annotated[Path | None, typer.Option(help="for the logged examples")] = None,
    run: Run = RUN,
    dry_run: DryRun = False,
) -> None:
    """Train the diffusion model on cached latents, from nothing or from an existing model."""
    from stemweave.training.finetune import load_base, resolved, start_from
    from stemweave.training.identity import check_parts, require_own_autoencoder
    from stemweave.training.networks import load_component, load_weights
    from stemweave.training.stage_denoiser import DenoiserStage
    from stemweave.training.start import load_songs
    from stemweave.training.trial import forecast, require_network

    settings, folder = run.settings("denoiser", config, init, data, stem_map, lora)
    base = load_base(settings)
    if base is not None:
        settings = resolved(settings, base)
    if dry_run:
        return typer.echo(forecast("denoiser", settings, base.vae if base else None))
    autoencoder = base.vae if base and vae is None else load_component("vae", vae or VAE)
    if base is not None:
        require_own_autoencoder(base, autoencoder)
    examples_vocoder = base.vocoder if base else None
    if vocoder is not None:
        examples_vocoder = load_component("vocoder", vocoder)
    check_parts(
        settings,
        vae=autoencoder,
        vocoder=examples_vocoder,
        denoiser=init if base is None else None,
    )
    require_network("denoiser", settings, autoencoder, run.device)
    songs = load_songs(settings, may_be_packed=True)
    stage = DenoiserStage(settings, *songs, autoencoder, examples_vocoder)
    if base is not None:
        start_from(stage.network, base.denoiser, base, settings)
    elif init is not None:
        load_weights(stage.network, "denoiser", init)
    run.start(stage, settings, folder, songs[0])


@app.command("refiner")
@with_options
def train_refiner(
    config: Config,
    init: Init = None,
    data: Data = None,
    stem_map: StemMap = None,
    lora: Lora = None,
    run: Run = RUN,
    dry_run: DryRun = False,
) -> None:
    """Train the mask network."""
    from stemweave.errors import InputError
    from stemweave.training.finetune import load_base, resolved, start_from
    from stemweave.training.identity import check_parts
    from stemweave.training.networks import load_weights
    from stemweave.training.stage_refiner import RefinerStage
    from stemweave.training.start import load_songs
    from stemweave.training.trial import forecast, require_network

    settings, folder = run.settings("refiner", config, init, data, stem_map, lora)
    base = load_base(settings)
    if base is not None:
        if base.refiner is None:
            raise InputError(f"the model {settings.finetune.model} has no refiner to train further")
        settings = resolved(settings, base, masks=True)
    if dry_run:
        return typer.echo(forecast("refiner", settings))
    check_parts(settings, refiner=init if base is None else None)
    require_network("refiner", settings, device=run.device)
    songs = load_songs(settings)
    stage = RefinerStage(settings, *songs)
    if base is not None:
        start_from(stage.network, base.refiner, base, settings)
    elif init is not None:
        load_weights(stage.network, "refiner", init, settings.stems)
    run.start(stage, settings, folder, songs[0])


@app.command("sharpener")
@with_options
def train_sharpener(
    config: Config,
    refiner: Annotated[Path | None, typer.Option(help=f"trained refiner; {REFINER}")] = None,
    init: Init = None,
    data: Data = None,
    stem_map: StemMap = None,
    run: Run = RUN,
) -> None:
    """Train what brings the refiner's masks from bands to single bins."""
    from stemweave.training.finetune import load_base, resolved, take_over
    from stemweave.training.identity import check_parts
    from stemweave.training.networks import (
        load_component,
        load_weights,
        make_refiner,
        make_sharpener,
    )
    from stemweave.training.stage_sharpener import SharpenerStage, kept_first_pass
    from stemweave.training.start import load_songs
    from stemweave.training.trial import require_network

    settings, folder = run.settings("sharpener", config, init, data, stem_map, None)
    base = load_base(settings)
    if base is not None:
        settings = resolved(settings, base, masks=True)
    if base is not None and base.refiner is not None and refiner is None:
        trained: Any = make_refiner(settings)
        take_over(trained, base.refiner, base, settings)
    else:
        trained = load_component("refiner", refiner or REFINER)
    check_parts(settings, refiner=trained, sharpener=init if base is None else None)

    def begin(network: Any) -> Any:
        if base is not None and base.sharpener is not None:
            take_over(network, base.sharpener, base, settings)
        elif base is None and init is not None:
            load_weights(network, "sharpener", init, settings.stems)
        return network

    first_pass = kept_first_pass(folder)
    if first_pass is None and settings.sharpener.model.get("later_components"):
        first_pass = begin(make_sharpener(settings))
    require_network("sharpener", settings, device=run.device)
    songs = load_songs(settings)
    stage = SharpenerStage(settings, *songs, trained, first_pass)
    begin(stage.network)
    run.start(stage, settings, folder, songs[0])


@app.command("vocoder")
@with_options
def train_vocoder(
    config: Config,
    vae: Annotated[
        Path | None, typer.Option(help="train on mels that went through this autoencoder too")
    ] = None,
    init: Annotated[Path | None, typer.Option(help="vocoder whose weights to start from")] = None,
    run: Run = RUN,
) -> None:
    """Train the vocoder."""
    from stemweave.training.identity import check_parts
    from stemweave.training.networks import load_component, load_weights
    from stemweave.training.stage_vocoder import VocoderStage
    from stemweave.training.start import load_songs
    from stemweave.training.trial import require_network

    settings, folder = run.settings("vocoder", config, init)
    autoencoder = load_component("vae", vae) if vae is not None else None
    check_parts(settings, vae=autoencoder, vocoder=init)
    require_network("vocoder", settings, device=run.device)
    songs = load_songs(settings)
    stage = VocoderStage(settings, *songs, autoencoder)
    if init is not None:
        load_weights(stage.network, "vocoder", init, settings.stems)
    run.start(stage, settings, folder, songs[0])


@app.command("score")
@with_options
def train_score(
    config: Config,
    init: Annotated[Path | None, typer.Option(help="score model to start from")] = None,
    run: Run = RUN,
) -> None:
    """Train the score model on the notes and sheets of songs."""
    from stemweave.data.scores import ScoreCorpus, score_folders
    from stemweave.training.networks import load_weights
    from stemweave.training.stage_score import STEMS, ScoreStage
    from stemweave.training.trial import require_network

    settings, folder = run.settings("score", config, init)
    require_network("score", settings, device=run.device)
    train = ScoreCorpus(score_folders(settings.data), STEMS)
    held_out = ScoreCorpus(score_folders(settings.score.validation), STEMS, train.styles)
    stage = ScoreStage(settings, train, held_out)
    if init is not None:
        load_weights(stage.network, "score_model", init)
    run.start(stage, settings, folder)


@app.command("analyser")
@with_options
def train_analyser(
    config: Config,
    init: Annotated[Path | None, typer.Option(help="analyser to start from")] = None,
    run: Run = RUN,
) -> None:
    """Train the analyser of beats, bars and harmony on songs with their sheets."""
    from stemweave.data.tar_songs import TarSongs
    from stemweave.errors import InputError
    from stemweave.training.networks import load_weights
    from stemweave.training.stage_analyser import AnalyserStage
    from stemweave.training.start import load_songs
    from stemweave.training.trial import require_network

    settings, folder = run.settings("analyser", config, init)
    require_network("analyser", settings, device=run.device)
    train, validation = load_songs(settings)
    if isinstance(train, TarSongs) or isinstance(validation, TarSongs):
        raise InputError("the analyser trains on folders of songs, not on tar shards")
    stage = AnalyserStage(settings, train, validation)
    if init is not None:
        load_weights(stage.network, "analyser", init)
    run.start(stage, settings, folder, train)


def register(parent: typer.Typer) -> None:
    """Add ``train`` to the command line."""
    parent.add_typer(app, name="train")

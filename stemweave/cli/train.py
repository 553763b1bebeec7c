"""``stemweave train vae|denoiser|refiner|sharpener|vocoder CONFIG.yaml``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemweave.cli.options import with_options
from stemweave.errors import InputError

if TYPE_CHECKING:
    from stemweave.model import StemModel
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

    def begin(
        self, kind: str, config: Path, init: Path | None, *base_options: Any, masks: bool = False
    ) -> Beginning:
        """What a stage trains by; its run is new if there are weights to start from.

        ``base_options`` of a stage that may start from a model are its data, stem map and LoRA.
        """
        from stemweave.training import finetune
        from stemweave.training.run_folder import require_new, run_folder
        from stemweave.training.start import prepare

        settings = prepare(config, self.changes)
        if base_options:
            settings = finetune.with_options(settings, init, *base_options)
        folder = run_folder(kind, settings, self.run)
        require_new(folder, init)
        base = finetune.load_base(settings) if base_options else None
        if base is not None:
            settings = finetune.resolved(settings, base, masks=masks)
        return Beginning(kind, self, settings, folder, base, init if base is None else None)


@dataclass(frozen=True)
class Beginning:
    """A run that is about to train.

    Attributes:
        base: model that is trained further, if any.
        init: or a part's weights to start from.
    """

    kind: str
    run: Run
    settings: RunSettings
    folder: Path
    base: StemModel | None
    init: Path | None

    def songs(
        self, autoencoder: Any = None, may_be_packed: bool = False, **parts: Any
    ) -> tuple[Any, Any]:
        """To train and to validate on, once settings and ``parts`` are seen to go together."""
        from stemweave.training.identity import check_parts
        from stemweave.training.start import load_songs
        from stemweave.training.trial import require_network

        check_parts(self.settings, **parts)
        require_network(self.kind, self.settings, autoencoder, self.run.device)
        return load_songs(self.settings, may_be_packed=may_be_packed)

    def load(self, network: Any, part: str, stems: Sequence[str] | None = None) -> None:
        """Give ``network`` the weights that it starts from, if any."""
        from stemweave.training.finetune import start_from
        from stemweave.training.networks import load_weights

        if self.base is not None:
            start_from(network, getattr(self.base, part), self.base, self.settings)
        elif self.init is not None:
            load_weights(network, part, self.init, stems)

    def start(self, stage: Any, songs: Any = None) -> None:
        """Train ``stage`` until it is done or stopped."""
        from stemweave.training.start import start

        start(stage, self.settings, self.folder, self.run.minutes, self.run.device, songs)


@app.command("vae")
@with_options
def train_vae(
    config: Config,
    run: Run,
    init: Annotated[Path | None, typer.Option(help="autoencoder to start from")] = None,
    dry_run: DryRun = False,
) -> None:
    """Train the autoencoder of log-mels."""
    from stemweave.training.networks import autoencoder_in
    from stemweave.training.stage_vae import VAEStage
    from stemweave.training.trial import forecast

    begun = run.begin("vae", config, init)
    if dry_run:
        return typer.echo(forecast("vae", begun.settings))
    songs = begun.songs(vae=init)
    stage = VAEStage(begun.settings, *songs)
    begun.load(autoencoder_in(stage.network), "vae")
    begun.start(stage, songs[0])


@app.command("denoiser")
@with_options
def train_denoiser(
    config: Config,
    run: Run,
    vae: Annotated[Path | None, typer.Option(help=f"trained autoencoder; {VAE}")] = None,
    init: Init = None,
    data: Data = None,
    stem_map: StemMap = None,
    lora: Lora = None,
    vocoder: Annotated[Path | None, typer.Option(help="for the logged examples")] = None,
    dry_run: DryRun = False,
) -> None:
    """Train the diffusion model on cached latents, from nothing or from an existing model."""
    from stemweave.training.identity import require_own_autoencoder
    from stemweave.training.networks import load_component
    from stemweave.training.stage_denoiser import DenoiserStage
    from stemweave.training.trial import forecast

    begun = run.begin("denoiser", config, init, data, stem_map, lora)
    base, settings = begun.base, begun.settings
    if dry_run:
        return typer.echo(forecast("denoiser", settings, base.vae if base else None))
    autoencoder = base.vae if base and vae is None else load_component("vae", vae or VAE)
    if base is not None:
        require_own_autoencoder(base, autoencoder)
    examples_vocoder = base.vocoder if base else None
    if vocoder is not None:
        examples_vocoder = load_component("vocoder", vocoder)
    parts = {"vae": autoencoder, "vocoder": examples_vocoder, "denoiser": begun.init}
    songs = begun.songs(autoencoder, may_be_packed=True, **parts)
    stage = DenoiserStage(settings, *songs, autoencoder, examples_vocoder)
    begun.load(stage.network, "denoiser")
    begun.start(stage, songs[0])


@app.command("refiner")
@with_options
def train_refiner(
    config: Config,
    run: Run,
    init: Init = None,
    data: Data = None,
    stem_map: StemMap = None,
    lora: Lora = None,
    dry_run: DryRun = False,
) -> None:
    """Train the mask network."""
    from stemweave.training.stage_refiner import RefinerStage
    from stemweave.training.trial import forecast

    begun = run.begin("refiner", config, init, data, stem_map, lora, masks=True)
    settings = begun.settings
    if begun.base is not None and begun.base.refiner is None:
        raise InputError(f"the model {settings.finetune.model} has no refiner to train further")
    if dry_run:
        return typer.echo(forecast("refiner", settings))
    songs = begun.songs(refiner=begun.init)
    stage = RefinerStage(settings, *songs)
    begun.load(stage.network, "refiner", settings.stems)
    begun.start(stage, songs[0])


@app.command("sharpener")
@with_options
def train_sharpener(
    config: Config,
    run: Run,
    refiner: Annotated[Path | None, typer.Option(help=f"trained refiner; {REFINER}")] = None,
    init: Init = None,
    data: Data = None,
    stem_map: StemMap = None,
) -> None:
    """Train what brings the refiner's masks from bands to single bins."""
    from stemweave.training.finetune import take_over
    from stemweave.training.networks import load_component, make_refiner, make_sharpener
    from stemweave.training.stage_sharpener import SharpenerStage, kept_first_pass

    begun = run.begin("sharpener", config, init, data, stem_map, None, masks=True)
    base, settings = begun.base, begun.settings
    if base is not None and base.refiner is not None and refiner is None:
        trained: Any = make_refiner(settings)
        take_over(trained, base.refiner, base, settings)
    else:
        trained = load_component("refiner", refiner or REFINER)

    def begin(network: Any) -> Any:
        if base is None:
            begun.load(network, "sharpener", settings.stems)
        elif base.sharpener is not None:
            take_over(network, base.sharpener, base, settings)
        return network

    songs = begun.songs(refiner=trained, sharpener=begun.init)
    first_pass = kept_first_pass(begun.folder)
    if first_pass is None and settings.sharpener.model.get("later_components"):
        first_pass = begin(make_sharpener(settings))
    stage = SharpenerStage(settings, *songs, trained, first_pass)
    begin(stage.network)
    begun.start(stage, songs[0])


@app.command("vocoder")
@with_options
def train_vocoder(
    config: Config,
    run: Run,
    vae: Annotated[
        Path | None, typer.Option(help="train on mels that went through this autoencoder too")
    ] = None,
    init: Annotated[Path | None, typer.Option(help="vocoder whose weights to start from")] = None,
) -> None:
    """Train the vocoder."""
    from stemweave.training.networks import load_component
    from stemweave.training.stage_vocoder import VocoderStage

    begun = run.begin("vocoder", config, init)
    autoencoder = load_component("vae", vae) if vae is not None else None
    songs = begun.songs(vae=autoencoder, vocoder=init)
    stage = VocoderStage(begun.settings, *songs, autoencoder)
    begun.load(stage.network, "vocoder", begun.settings.stems)
    begun.start(stage, songs[0])


@app.command("score")
@with_options
def train_score(
    config: Config,
    run: Run,
    init: Annotated[Path | None, typer.Option(help="score model to start from")] = None,
) -> None:
    """Train the score model on the notes and sheets of songs."""
    from stemweave.data.scores import ScoreCorpus, score_folders
    from stemweave.training.stage_score import STEMS, ScoreStage
    from stemweave.training.trial import require_network

    begun = run.begin("score", config, init)
    settings = begun.settings
    require_network("score", settings, device=run.device)
    train = ScoreCorpus(score_folders(settings.data), STEMS)
    held_out = ScoreCorpus(score_folders(settings.score.validation), STEMS, train.styles)
    stage = ScoreStage(settings, train, held_out)
    begun.load(stage.network, "score_model")
    begun.start(stage)


@app.command("analyser")
@with_options
def train_analyser(
    config: Config,
    run: Run,
    init: Annotated[Path | None, typer.Option(help="analyser to start from")] = None,
) -> None:
    """Train the analyser of beats, bars and harmony on songs with their sheets."""
    from stemweave.data.tar_songs import TarSongs
    from stemweave.training.stage_analyser import AnalyserStage

    begun = run.begin("analyser", config, init)
    songs = begun.songs()
    if any(isinstance(some, TarSongs) for some in songs):
        raise InputError("the analyser trains on folders of songs, not on tar shards")
    stage = AnalyserStage(begun.settings, *songs)
    begun.load(stage.network, "analyser")
    begun.start(stage, songs[0])

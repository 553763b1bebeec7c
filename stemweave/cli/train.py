"""``stemweave train vae|denoiser|refiner|sharpener|vocoder CONFIG.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stemweave.cli.data import ProcessesOption, RayOption
from stemweave.cli.data import app as data_app
from stemweave.io.jobs import Workers

DEFAULT_FOLDERS = {
    "vae": Path("runs/vae/export"),
    "denoiser": Path("runs/denoiser/export"),
    "vocoder": Path("runs/vocoder/export"),
}
REFINER = Path("runs/refiner/export")
VAE, DENOISER, VOCODER = DEFAULT_FOLDERS.values()

app = typer.Typer(no_args_is_help=True, help="Train a part of the model; resumable.")

Config = Annotated[Path, typer.Argument(help="YAML file of settings, e.g. configs/bundled.yaml")]
RunFolder = Annotated[Path | None, typer.Option("--run", help="run folder; default runs/<stage>")]
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
Lora = Annotated[int | None, typer.Option(min=1, help="train matrices of this rank (LoRA) only")]


@app.command("vae")
def train_vae(
    config: Config,
    init: Annotated[Path | None, typer.Option(help="autoencoder to start from")] = None,
    run: RunFolder = None,
    minutes: Minutes = 0,
    device: Device = "auto",
    changes: Changes = None,
) -> None:
    """Train the autoencoder of log-mels."""
    from stemweave.training.identity import check_parts
    from stemweave.training.networks import autoencoder_in, load_weights
    from stemweave.training.stage_vae import VAEStage
    from stemweave.training.start import load_songs, prepare, require_new, start

    settings = prepare(config, changes)
    folder = run or Path("runs/vae")
    require_new(folder, init)
    check_parts(settings, vae=init)
    songs = load_songs(settings)
    stage = VAEStage(settings, *songs)
    if init is not None:
        load_weights(autoencoder_in(stage.network), "vae", init)
    start(stage, settings, folder, minutes, device, songs[0])


@app.command("denoiser")
def train_denoiser(
    config: Config,
    vae: Annotated[Path | None, typer.Option(help=f"trained autoencoder; {VAE}")] = None,
    init: Init = None,
    data: Data = None,
    stem_map: StemMap = None,
    lora: Lora = None,
    vocoder: Annotated[Path | None, typer.Option(help="for the logged examples")] = None,
    run: RunFolder = None,
    minutes: Minutes = 0,
    device: Device = "auto",
    changes: Changes = None,
) -> None:
    """Train the diffusion model on cached latents, from nothing or from an existing model."""
    from stemweave.training.finetune import load_base, resolved, start_from, with_options
    from stemweave.training.identity import check_parts, require_own_autoencoder
    from stemweave.training.networks import load_component, load_weights
    from stemweave.training.stage_denoiser import DenoiserStage
    from stemweave.training.start import load_songs, prepare, require_new, start

    folder = run or Path("runs/denoiser")
    require_new(folder, init)
    settings = with_options(prepare(config, changes), init, data, stem_map, lora)
    base = load_base(settings)
    if base is not None:
        settings = resolved(settings, base)
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
    songs = load_songs(settings)
    stage = DenoiserStage(settings, *songs, autoencoder, examples_vocoder)
    if base is not None:
        start_from(stage.network, base.denoiser, base, settings)
    elif init is not None:
        load_weights(stage.network, "denoiser", init)
    start(stage, settings, folder, minutes, device, songs[0])


@app.command("refiner")
def train_refiner(
    config: Config,
    init: Init = None,
    data: Data = None,
    stem_map: StemMap = None,
    lora: Lora = None,
    run: RunFolder = None,
    minutes: Minutes = 0,
    device: Device = "auto",
    changes: Changes = None,
) -> None:
    """Train the mask network."""
    from stemweave.errors import InputError
    from stemweave.training.finetune import load_base, resolved, start_from, with_options
    from stemweave.training.identity import check_parts
    from stemweave.training.networks import load_weights
    from stemweave.training.stage_refiner import RefinerStage
    from stemweave.training.start import load_songs, prepare, require_new, start

    folder = run or Path("runs/refiner")
    require_new(folder, init)
    settings = with_options(prepare(config, changes), init, data, stem_map, lora)
    base = load_base(settings)
    if base is not None:
        if base.refiner is None:
            raise InputError(f"the model {settings.finetune.model} has no refiner to train further")
        settings = resolved(settings, base, masks=True)
    check_parts(settings, refiner=init if base is None else None)
    songs = load_songs(settings)
    stage = RefinerStage(settings, *songs)
    if base is not None:
        start_from(stage.network, base.refiner, base, settings)
    elif init is not None:
        load_weights(stage.network, "refiner", init, settings.stems)
    start(stage, settings, folder, minutes, device, songs[0])


@app.command("sharpener")
def train_sharpener(
    config: Config,
    refiner: Annotated[Path | None, typer.Option(help=f"trained refiner; {REFINER}")] = None,
    init: Init = None,
    data: Data = None,
    stem_map: StemMap = None,
    run: RunFolder = None,
    minutes: Minutes = 0,
    device: Device = "auto",
    changes: Changes = None,
) -> None:
    """Train what brings the refiner's masks from bands to single bins."""
    from stemweave.training.finetune import load_base, resolved, take_over, with_options
    from stemweave.training.identity import check_parts
    from stemweave.training.networks import (
        load_component,
        load_weights,
        make_refiner,
        make_sharpener,
    )
    from stemweave.training.stage_sharpener import SharpenerStage
    from stemweave.training.start import load_songs, prepare, require_new, start

    folder = run or Path("runs/sharpener")
    require_new(folder, init)
    settings = with_options(prepare(config, changes), init, data, stem_map, None)
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

    two_passes = settings.sharpener.model.get("later_components")
    first_pass = begin(make_sharpener(settings)) if two_passes else None
    songs = load_songs(settings)
    stage = SharpenerStage(settings, *songs, trained, first_pass)
    begin(stage.network)
    start(stage, settings, folder, minutes, device, songs[0])


@app.command("vocoder")
def train_vocoder(
    config: Config,
    vae: Annotated[
        Path | None, typer.Option(help="train on mels that went through this autoencoder too")
    ] = None,
    init: Annotated[Path | None, typer.Option(help="vocoder whose weights to start from")] = None,
    run: RunFolder = None,
    minutes: Minutes = 0,
    device: Device = "auto",
    changes: Changes = None,
) -> None:
    """Train the vocoder."""
    from stemweave.training.identity import check_parts
    from stemweave.training.networks import load_component, load_weights
    from stemweave.training.stage_vocoder import VocoderStage
    from stemweave.training.start import load_songs, prepare, require_new, start

    settings = prepare(config, changes)
    folder = run or Path("runs/vocoder")
    require_new(folder, init)
    autoencoder = load_component("vae", vae) if vae is not None else None
    check_parts(settings, vae=autoencoder, vocoder=init)
    songs = load_songs(settings)
    stage = VocoderStage(settings, *songs, autoencoder)
    if init is not None:
        load_weights(stage.network, "vocoder", init)
    start(stage, settings, folder, minutes, device, songs[0])


@app.command("score")
def train_score(
    config: Config,
    init: Annotated[Path | None, typer.Option(help="score model to start from")] = None,
    run: RunFolder = None,
    minutes: Minutes = 0,
    device: Device = "auto",
    changes: Changes = None,
) -> None:
    """Train the score model on the notes and sheets of songs."""
    from stemweave.data.scores import ScoreCorpus, score_folders
    from stemweave.training.networks import load_weights
    from stemweave.training.stage_score import STEMS, ScoreStage
    from stemweave.training.start import prepare, require_new, start

    settings = prepare(config, changes)
    folder = run or Path("runs/score")
    require_new(folder, init)
    train = ScoreCorpus(score_folders(settings.data), STEMS)
    held_out = ScoreCorpus(score_folders(settings.score.validation), STEMS, train.styles)
    stage = ScoreStage(settings, train, held_out)
    if init is not None:
        load_weights(stage.network, "score_model", init)
    start(stage, settings, folder, minutes, device)


@app.command("analyser")
def train_analyser(
    config: Config,
    init: Annotated[Path | None, typer.Option(help="analyser to start from")] = None,
    run: RunFolder = None,
    minutes: Minutes = 0,
    device: Device = "auto",
) -> None:
    """Train the analyser of beats, bars and harmony on songs with their sheets."""
    from stemweave.data.tar_songs import TarSongs
    from stemweave.errors import InputError
    from stemweave.training.networks import load_weights
    from stemweave.training.stage_analyser import AnalyserStage
    from stemweave.training.start import load_songs, prepare, require_new, start

    settings = prepare(config)
    folder = run or Path("runs/analyser")
    require_new(folder, init)
    train, validation = load_songs(settings)
    if isinstance(train, TarSongs) or isinstance(validation, TarSongs):
        raise InputError("the analyser trains on folders of songs, not on tar shards")
    stage = AnalyserStage(settings, train, validation)
    if init is not None:
        load_weights(stage.network, "analyser", init)
    start(stage, settings, folder, minutes, device, train)


def assemble(
    config: Config,
    out: Annotated[Path, typer.Argument(help="model folder to write")],
    vae: Annotated[Path | None, typer.Option(help=f"exported autoencoder; {VAE}")] = None,
    denoiser: Annotated[Path | None, typer.Option(help=f"exported denoiser; {DENOISER}")] = None,
    vocoder: Annotated[Path | None, typer.Option(help=f"exported vocoder; {VOCODER}")] = None,
    refiner: Annotated[
        Path | None, typer.Option(help="exported mask refiner; none without this option")
    ] = None,
    sharpener: Annotated[
        Path | None, typer.Option(help="exported mask sharpener; none without this option")
    ] = None,
    score_model: Annotated[
        Path | None, typer.Option(help="exported score model; none without this option")
    ] = None,
    analyser: Annotated[
        Path | None, typer.Option(help="exported analyser; none without this option")
    ] = None,
    init: Annotated[
        Path | None, typer.Option(help="model that parts which are not given come from")
    ] = None,
    stem_map: StemMap = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace OUT")] = False,
) -> None:
    """Put trained parts together into a model folder for --model.

    With settings that train an existing model further, or --init, that model's parts are taken for
    those that are not given.
    """
    from stemweave.io.files import require_absent
    from stemweave.training.assemble import assemble_model, finetuned_parts
    from stemweave.training.finetune import load_base, resolved, with_options
    from stemweave.training.identity import check_parts, require_own_autoencoder
    from stemweave.training.networks import load_component
    from stemweave.training.settings import load_settings

    require_absent([out], overwrite)
    settings = with_options(load_settings(config), init, None, stem_map, None)
    base = load_base(settings)
    folders = {
        "vae": vae, "denoiser": denoiser, "vocoder": vocoder, "refiner": refiner,
        "sharpener": sharpener, "score_model": score_model, "analyser": analyser,
    }  # fmt: skip
    parts: dict[str, Any] = {}
    if base is not None:
        settings = resolved(settings, base)
        parts = finetuned_parts(settings, base, given={n for n, f in folders.items() if f})
    else:
        folders = {n: folder or DEFAULT_FOLDERS.get(n) for n, folder in folders.items()}
    parts |= {n: load_component(n, folder) for n, folder in folders.items() if folder}
    if base is not None and denoiser is None:
        require_own_autoencoder(base, parts["vae"])
    masks = {name: parts.get(name) for name in ("refiner", "sharpener")}
    check_parts(settings, **{name: part for name, part in parts.items() if name not in masks})
    separated = getattr(masks["refiner"], "config", {}).get("stems") or settings.stems
    check_parts(settings.model_copy(update={"stems": separated}), **masks)
    assemble_model(settings, parts, out)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    typer.echo(f"{out}: {size / 1e6:.1f} MB")


@data_app.command("cache")
def cache(
    config: Config,
    stage: Annotated[str, typer.Option(help="whose crops: denoiser or refiner")] = "denoiser",
    vae: Annotated[
        Path | None, typer.Option(help=f"trained autoencoder, for the denoiser's; {VAE}")
    ] = None,
    shards: Annotated[
        int | None, typer.Option(min=1, help="as many as the steps need by default")
    ] = None,
    workers: ProcessesOption = 2,
    ray: RayOption = None,
) -> None:
    """Prepare the crops that 'train denoiser' (or refiner) will draw from, ahead of it."""
    from stemweave.errors import InputError
    from stemweave.training.cache import CacheSource, cache_crops
    from stemweave.training.settings import load_settings

    if stage not in ("denoiser", "refiner"):
        raise InputError(f"--stage must be denoiser or refiner, not {stage}")
    if vae is None and load_settings(config).finetune.model is None:
        vae = VAE
    source = CacheSource(config, stage, vae, Path.cwd())
    made, kept, folder = cache_crops(source, shards, Workers(workers, ray))
    typer.echo(f"{made} shards made, {kept} were there → {folder}")


def register(parent: typer.Typer) -> None:
    """Add ``train`` and ``assemble`` to the command line."""
    parent.add_typer(app, name="train")
    parent.command()(assemble)

"""``stemweave train vae|denoiser|refiner|vocoder CONFIG.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stemweave.data.commands import ProcessesOption, RayOption
from stemweave.data.commands import app as data_app
from stemweave.jobs import Workers

app = typer.Typer(no_args_is_help=True, help="Train a part of the model; resumable.")

Config = Annotated[Path, typer.Argument(help="YAML file of settings, e.g. configs/bundled.yaml")]
RunFolder = Annotated[Path | None, typer.Option("--run", help="run folder; default runs/<stage>")]
Minutes = Annotated[float, typer.Option(min=0, help="stop after so many minutes (0: never)")]
Device = Annotated[str, typer.Option(help="auto or cpu")]


@app.command("vae")
def train_vae(
    config: Config,
    init: Annotated[Path | None, typer.Option(help="autoencoder to start from")] = None,
    run: RunFolder = None,
    minutes: Minutes = 0,
    device: Device = "auto",
) -> None:
    """Train the autoencoder of log-mels."""
    from stemweave.training.networks import autoencoder_in, load_weights
    from stemweave.training.stage_vae import VAEStage
    from stemweave.training.start import load_songs, prepare, start

    settings = prepare(config)
    stage = VAEStage(settings, *load_songs(settings))
    if init is not None:
        load_weights(autoencoder_in(stage.network), "vae", init)
    start(stage, settings, run or Path("runs/vae"), minutes, device)


@app.command("denoiser")
def train_denoiser(
    config: Config,
    vae: Annotated[Path, typer.Option(help="trained autoencoder")] = Path("runs/vae/export"),
    init: Annotated[Path | None, typer.Option(help="denoiser whose weights to start from")] = None,
    vocoder: Annotated[Path | None, typer.Option(help="for the logged examples")] = None,
    run: RunFolder = None,
    minutes: Minutes = 0,
    device: Device = "auto",
) -> None:
    """Train the diffusion model on cached latents."""
    from stemweave.training.networks import load_component, load_weights
    from stemweave.training.stage_denoiser import DenoiserStage
    from stemweave.training.start import load_songs, prepare, start

    settings = prepare(config)
    examples_vocoder = load_component("vocoder", vocoder) if vocoder is not None else None
    autoencoder = load_component("vae", vae)
    stage = DenoiserStage(settings, *load_songs(settings), autoencoder, examples_vocoder)
    if init is not None:
        load_weights(stage.network, "denoiser", init)
    start(stage, settings, run or Path("runs/denoiser"), minutes, device)


@app.command("refiner")
def train_refiner(
    config: Config,
    vae: Annotated[Path, typer.Option(help="trained autoencoder")] = Path("runs/vae/export"),
    denoiser: Annotated[Path, typer.Option(help="trained denoiser")] = Path("runs/denoiser/export"),
    init: Annotated[Path | None, typer.Option(help="refiner whose weights to start from")] = None,
    run: RunFolder = None,
    minutes: Minutes = 0,
    device: Device = "auto",
) -> None:
    """Train the masks' refinement on the denoiser's estimates."""
    from stemweave.training.networks import load_component, load_weights
    from stemweave.training.stage_refiner import RefinerStage
    from stemweave.training.start import load_songs, prepare, start

    settings = prepare(config)
    parts = [load_component("vae", vae), load_component("denoiser", denoiser)]
    stage = RefinerStage(settings, *load_songs(settings), *parts)
    if init is not None:
        load_weights(stage.network, "refiner", init)
    start(stage, settings, run or Path("runs/refiner"), minutes, device)


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
) -> None:
    """Train the vocoder."""
    from stemweave.training.networks import load_component, load_weights
    from stemweave.training.stage_vocoder import VocoderStage
    from stemweave.training.start import load_songs, prepare, start

    settings = prepare(config)
    autoencoder = load_component("vae", vae) if vae is not None else None
    stage = VocoderStage(settings, *load_songs(settings), autoencoder)
    if init is not None:
        load_weights(stage.network, "vocoder", init)
    start(stage, settings, run or Path("runs/vocoder"), minutes, device)


def assemble(
    config: Config,
    out: Annotated[Path, typer.Argument(help="model folder to write")],
    vae: Annotated[Path, typer.Option(help="exported autoencoder")] = Path("runs/vae/export"),
    denoiser: Annotated[Path, typer.Option(help="exported denoiser")] = Path(
        "runs/denoiser/export"
    ),
    vocoder: Annotated[Path, typer.Option(help="exported vocoder")] = Path("runs/vocoder/export"),
    refiner: Annotated[
        Path | None, typer.Option(help="exported mask refiner; none without this option")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace OUT")] = False,
) -> None:
    """Put trained parts together into a model folder for --model."""
    from stemweave.files import require_absent
    from stemweave.training.assemble import assemble_model
    from stemweave.training.settings import load_settings

    require_absent([out], overwrite)
    assemble_model(load_settings(config), vae, denoiser, vocoder, out, refiner)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    typer.echo(f"{out}: {size / 1e6:.1f} MB")


@data_app.command("cache")
def cache(
    config: Config,
    vae: Annotated[Path, typer.Option(help="trained autoencoder")] = Path("runs/vae/export"),
    denoiser: Annotated[
        Path | None, typer.Option(help="trained denoiser: prepare the refiner's crops")
    ] = None,
    shards: Annotated[
        int | None, typer.Option(min=1, help="as many as the steps need by default")
    ] = None,
    workers: ProcessesOption = 2,
    ray: RayOption = None,
) -> None:
    """Encode the crops that 'train denoiser' (or refiner) will draw from, ahead of it."""
    from stemweave.training.cache import CacheSource, cache_crops

    source = CacheSource(config, vae, denoiser, Path.cwd())
    made, kept, folder = cache_crops(source, shards, Workers(workers, ray))
    typer.echo(f"{made} shards made, {kept} were there → {folder}")


def register(parent: typer.Typer) -> None:
    """Add ``train`` and ``assemble`` to the command line."""
    parent.add_typer(app, name="train")
    parent.command()(assemble)

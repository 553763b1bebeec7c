"""``stemweave assemble``: trained parts → a model folder; ``stemweave data cache|latents``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stemweave.cli.data import ProcessesOption, RayOption
from stemweave.cli.data import app as data_app
from stemweave.cli.train import VAE, Changes, Config, StemMap
from stemweave.io.jobs import Workers

DENOISER, VOCODER = Path("runs/denoiser/export"), Path("runs/vocoder/export")
DEFAULT_FOLDERS = {"vae": VAE, "denoiser": DENOISER, "vocoder": VOCODER}


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
    changes: Changes = None,
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
    settings = with_options(
        load_settings(config, changes=changes or ()), init, None, stem_map, None
    )
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
    changes: Changes = None,
) -> None:
    """Prepare the crops that 'train denoiser' (or refiner) will draw from, ahead of it."""
    from stemweave.errors import InputError
    from stemweave.training.cache import CacheSource, cache_crops
    from stemweave.training.settings import load_settings

    if stage not in ("denoiser", "refiner"):
        raise InputError(f"--stage must be denoiser or refiner, not {stage}")
    if vae is None and load_settings(config, changes=changes or ()).finetune.model is None:
        vae = VAE
    source = CacheSource(config, stage, vae, Path.cwd(), tuple(changes or ()))
    made, kept, folder = cache_crops(source, shards, Workers(workers, ray))
    typer.echo(f"{made} shards made, {kept} were there → {folder}")


@data_app.command("latents")
def latents(
    config: Config,
    out: Annotated[Path, typer.Argument(help="folder to write")],
    vae: Annotated[Path | None, typer.Option(help=f"trained autoencoder; {VAE}")] = None,
    mib: Annotated[float, typer.Option("--mib", min=0.01, help="size at most, in 2²⁰ bytes")] = 55,
    latent_step: Annotated[
        float, typer.Option(min=0, max=1, help="that latents are rounded to; 0 leaves them")
    ] = 1 / 16,
    changes: Changes = None,
) -> None:
    """Pack the denoiser's crops, for training where there are no songs."""
    from stemweave.data.crop_pack import require_means, write_pack
    from stemweave.data.latents import LatentShards
    from stemweave.io.files import require_absent
    from stemweave.training.cache import CacheSource
    from stemweave.training.settings import load_settings

    require_absent([out], overwrite=False)
    settings = load_settings(config, changes=changes or ())
    require_means(settings.denoiser.latents)
    if vae is None and settings.finetune.model is None:
        vae = VAE
    stage = CacheSource(config, "denoiser", vae, Path.cwd(), tuple(changes or ())).load()
    assert isinstance(stage.shards, LatentShards)
    assert isinstance(stage.validation_shards, LatentShards)
    number = write_pack(stage.shards, stage.validation_shards, out, mib * 2**20, latent_step)
    size = sum(path.stat().st_size for path in out.iterdir())
    typer.echo(f"{number} crops → {out}: {size / 2**20:.1f} MiB")

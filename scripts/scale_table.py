"""The tables of docs/scale.md, computed from docs/scale_rates.json and the assumptions below.

.venv/bin/python -m scripts.scale_table [--write] [--cpu-price 0.04] [--gpu-price 2] ...
prints them; ``--write`` puts them between the document's markers.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from benchmarks.documents import with_block

DOCS = Path(__file__).parent.parent / "docs"
CROP_S = 10.24
HOP_S = CROP_S - 1.0
"""Windows of separation overlap by a second."""
SIZES = {"Slakh2100": (145, 100), "10 k h": (10_000, 10), "1 M h": (1_000_000, 1)}
"""Hours of music, and training passes over it: the paper's 100 for its data, fewer for more."""


@dataclass(frozen=True)
class Assumptions:
    """Not measured here: replace them by yours. Prices in US dollars, without a contract's terms.

    Attributes:
        cpu_price: for one core for an hour.
        gpu_price: for one GPU for an hour.
        storage_price: for 10⁹ bytes in object storage for a month.
        gpu_teraflops: peak of one GPU in 10¹² operations a second (A100, dense bfloat16).
        utilisation: share of the peak that training reaches.
        cores: at work at a time, for the durations.
        gpus: likewise.
        songs: of a catalogue that is separated.
        song_minutes: length of each.
        steps: DDIM's in the paper's separation, each with and without the mixture.
    """

    cpu_price: float = 0.04
    gpu_price: float = 2.0
    storage_price: float = 0.023
    gpu_teraflops: float = 312.0
    utilisation: float = 0.35
    cores: int = 256
    gpus: int = 64
    songs: int = 1_000_000
    song_minutes: float = 4.0
    steps: int = 200


def number(value: float) -> str:
    """Three significant digits, thousands apart."""
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}".replace(",", " ")
    return f"{value:.3g}"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Markdown, numbers to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def rates_table(rates: dict[str, float]) -> str:
    """What was measured."""
    gigabyte, tera = 1e9, 1e12
    rows = [
        ["four stems, FLAC, 16 kHz mono", "GB", rates["flac_16k_bytes"] / gigabyte],
        ["four stems, FLAC, 44.1 kHz mono", "GB", rates["flac_44k_bytes"] / gigabyte],
        ["latents, float16, bundled autoencoder", "GB", rates["latents_bundled_bytes"] / gigabyte],
        [
            "latents, float16, the paper's autoencoder",
            "GB",
            rates["latents_paper_bytes"] / gigabyte,
        ],
        ["compose and render", "CPU h", rates["compose_cpu_s"] / 3600],
        ["render MIDI", "CPU h", rates["render_cpu_s"] / 3600],
        ["mix and encode, bundled autoencoder", "CPU h", rates["encode_bundled_cpu_s"] / 3600],
        ["mix and encode, the paper's autoencoder", "CPU h", rates["encode_paper_cpu_s"] / 3600],
        ["encode, the paper's autoencoder", "TFLOP", rates["encode_paper_flops"] / tera],
        [
            f"train the U-Net of {rates['unet_parameters'] / 1e6:.0f} M parameters, one pass",
            "TFLOP",
            rates["unet_step_flops"] / tera * 3600 / CROP_S,
        ],
    ]
    cells = [[str(what), str(unit), number(float(value))] for what, unit, value in rows]
    return table(["for an hour of music", "unit", "measured"], cells)


def gpu_hours(flops: float, assumed: Assumptions) -> float:
    """GPU-hours that so many floating-point operations take."""
    return flops / (assumed.gpu_teraflops * 1e12 * assumed.utilisation) / 3600


def sizes_table(rates: dict[str, float], assumed: Assumptions) -> str:
    """Storage, hours and dollars for each size."""
    names = (
        "hours of music",
        "**storage**, GB: FLAC, 16 kHz",
        "FLAC, 44.1 kHz",
        "latents of one variant, the paper's autoencoder",
        "tar shards of 512 MB, 16 kHz",
        "**CPU-hours**: compose and render",
        "or: render MIDI",
        "encode one variant, bundled autoencoder",
        "encode one variant, the paper's autoencoder",
        "days to render MIDI on {cores} cores",
        "hours that one driver is busy with these jobs, of 4 min of music each",
        "**GPU-hours**: encode one variant, the paper's autoencoder",
        "passes over the music in training",
        "train the U-Net",
        "days on {gpus} GPUs",
        "**dollars**: render MIDI",
        "encode on CPUs, the paper's autoencoder",
        "or: encode on GPUs",
        "train the U-Net",
        "a month of FLAC at 16 kHz and one variant of latents",
    )
    rows = [[name.format(**asdict(assumed))] for name in names]
    for hours, passes in SIZES.values():
        flac_gb = hours * rates["flac_16k_bytes"] / 1e9
        latents_gb = hours * rates["latents_paper_bytes"] / 1e9
        render_h, encode_h = (
            hours * rates[key] / 3600 for key in ("render_cpu_s", "encode_paper_cpu_s")
        )
        encode_gpu_h = gpu_hours(hours * rates["encode_paper_flops"], assumed)
        crops = hours * 3600 / CROP_S * passes
        train_h = gpu_hours(crops * rates["unet_step_flops"], assumed)
        values = (
            hours,
            flac_gb,
            hours * rates["flac_44k_bytes"] / 1e9,
            latents_gb,
            max(1, flac_gb / 0.512),
            hours * rates["compose_cpu_s"] / 3600,
            render_h,
            hours * rates["encode_bundled_cpu_s"] / 3600,
            encode_h,
            render_h / assumed.cores / 24,
            hours * 15 * rates["ray_driver_cpu_s"] / 3600,
            encode_gpu_h,
            passes,
            train_h,
            train_h / assumed.gpus / 24,
            render_h * assumed.cpu_price,
            encode_h * assumed.cpu_price,
            encode_gpu_h * assumed.gpu_price,
            train_h * assumed.gpu_price,
            (flac_gb + latents_gb) * assumed.storage_price,
        )
        for row, value in zip(rows, values, strict=True):
            row.append(number(value))
    return table(["", *SIZES], rows)


def separation_flops(rates: dict[str, float], assumed: Assumptions) -> dict[str, float]:
    """FLOPs of the networks for one window of separation."""
    encode = rates["encode_paper_flops"] * CROP_S / 3600 / 5  # of four stems and the mixture
    passes = 2 * assumed.steps * rates["unet_forward_flops"]
    return {
        "bundled": rates["separate_bundled_flops"],
        "paper": encode + passes + rates["decode_paper_flops"],
    }


def separation_rates_table(rates: dict[str, float], assumed: Assumptions) -> str:
    """What was measured of separation."""
    flops = separation_flops(rates, assumed)
    rows = [
        ["separate into WAV", "CPU s", rates["separate_wav_cpu_s"] / 3600],
        ["separate into FLAC", "CPU s", rates["separate_flac_cpu_s"] / 3600],
        ["of these in the networks", "CPU s", networks_cpu_s(rates)],
        ["the networks", "GFLOP", flops["bundled"] / 1e9 / HOP_S],
        [
            f"the paper's, {assumed.steps} steps with guidance",
            "GFLOP",
            flops["paper"] / 1e9 / HOP_S,
        ],
        ["the mixture, FLAC, 16 bit", "kB", rates["mixture_flac_bytes"] / 3600 / 1e3],
        ["four stems, FLAC, 24 bit", "kB", rates["separate_flac_bytes"] / 3600 / 1e3],
        ["four stems, WAV, 32 bit", "kB", rates["separate_wav_bytes"] / 3600 / 1e3],
    ]
    cells = [[str(what), str(unit), number(float(value))] for what, unit, value in rows]
    return table(["for a second of stereo at 44.1 kHz", "unit", "measured"], cells)


def networks_cpu_s(rates: dict[str, float]) -> float:
    """CPU seconds of the networks for a second of audio."""
    return rates["separate_networks_cpu_s"] / HOP_S


def catalogue_table(rates: dict[str, float], assumed: Assumptions) -> str:
    """Separation of a catalogue by the bundled model and by one of the paper's size."""
    seconds = assumed.songs * assumed.song_minutes * 60
    hours = seconds / 3600
    flops = {k: v * seconds / HOP_S for k, v in separation_flops(rates, assumed).items()}
    paper_flops_per_s = rates["encode_paper_flops"] / rates["encode_paper_cpu_s"]
    beside_h = hours * rates["separate_flac_cpu_s"] / 3600 - seconds * networks_cpu_s(rates) / 3600
    cpu_h = {
        "bundled": hours * rates["separate_flac_cpu_s"] / 3600,
        "paper": beside_h + flops["paper"] / paper_flops_per_s / 3600,
    }
    columns = []
    for model in ("bundled", "paper"):
        gpu_h = gpu_hours(flops[model], assumed)
        columns.append(
            (
                cpu_h[model],
                cpu_h[model] / assumed.cores / 24,
                cpu_h[model] * assumed.cpu_price,
                gpu_h,
                beside_h,
                max(gpu_h / assumed.gpus, beside_h / assumed.cores) / 24,
                gpu_h * assumed.gpu_price + beside_h * assumed.cpu_price,
                assumed.songs * rates["ray_driver_cpu_s"] / 3600,
            )
        )
    names = (
        "**CPUs alone**: CPU-hours",
        f"days on {assumed.cores} cores",
        "dollars",
        "**GPUs**: GPU-hours of the networks",
        "CPU-hours beside them: files, resampling, spectra, masks",
        f"days on {assumed.gpus} GPUs and {assumed.cores} cores",
        "dollars",
        "hours that one driver is busy, a song a job",
    )
    rows = [[name, *map(number, values)] for name, *values in zip(names, *columns, strict=True)]
    songs = f"{number(assumed.songs)} songs of {assumed.song_minutes:.0f} minutes"
    models = table([songs, "bundled model", "the paper's"], rows)
    stored = {
        "the mixtures, FLAC": hours * rates["mixture_flac_bytes"] / 1e12,
        "four stems, FLAC": hours * rates["separate_flac_bytes"] / 1e12,
        "four stems, WAV": hours * rates["separate_wav_bytes"] / 1e12,
    }
    storage = table(
        [f"{songs}: {number(hours)} h", "TB", "$ a month"],
        [[k, number(v), number(v * 1000 * assumed.storage_price)] for k, v in stored.items()],
    )
    return f"{models}\n\n{storage}"


def assumptions_table(assumed: Assumptions) -> str:
    """What was assumed."""
    rows = [
        ["a core for an hour", f"${assumed.cpu_price}"],
        ["a GPU for an hour", f"${assumed.gpu_price}"],
        ["a GB in object storage for a month", f"${assumed.storage_price}"],
        ["peak of a GPU (A100, dense bfloat16)", f"{assumed.gpu_teraflops:.0f} TFLOP/s"],
        ["share of the peak that is reached", f"{assumed.utilisation:.0%}"],
    ]
    return table(["assumed", ""], rows)


def as_markdown(rates: dict[str, float], assumed: Assumptions) -> dict[str, str]:
    """All tables, by the name in the document's markers."""
    training = (
        rates_table(rates),
        assumptions_table(assumed),
        sizes_table(rates, assumed),
    )
    separation = (separation_rates_table(rates, assumed), catalogue_table(rates, assumed))
    return {"scale": "\n\n".join(training), "separation": "\n\n".join(separation)}


def with_tables(document: str, tables: dict[str, str]) -> str:
    """``document`` with ``tables`` between their markers."""
    for name, own in tables.items():
        document = with_block(document, name, own)
    return document


def main() -> None:
    """Print the tables, or put them into the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help="into docs/scale.md")
    for field in fields(Assumptions):
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=type(field.default), default=field.default)
    options = vars(parser.parse_args())
    write = options.pop("write")
    rates = json.loads((DOCS / "scale_rates.json").read_text())["rates"]
    tables = as_markdown(rates, Assumptions(**options))
    if write:
        path = DOCS / "scale.md"
        path.write_text(with_tables(path.read_text(), tables))
    else:
        print("\n\n".join(tables.values()))


if __name__ == "__main__":
    main()

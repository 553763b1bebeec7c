"""Options that the task commands share, and what follows from them.

Heavy imports wait until a command runs.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from stemweave.cli.console import console
from stemweave.errors import InputError
from stemweave.io.encoding import Encoding, encoding_of
from stemweave.io.records import PICTURE
from stemweave.models.devices import AUTO, device_name

if TYPE_CHECKING:
    from tqdm import tqdm

    from stemweave.diffusion.sampler import Progress
    from stemweave.model import StemModel
    from stemweave.tasks.sampling import Sampling as Sampling

Out = Annotated[Path, typer.Option("--out", "-o", help="folder for the results")]
Model = Annotated[
    str | None, typer.Option(help="model folder or hub id; the bundled model by default")
]
Seed = Annotated[int, typer.Option(min=0, max=2**62, help="equal seeds give equal results")]
Steps = Annotated[
    int | None, typer.Option(min=1, max=1000, help="network passes; the model's default if absent")
]
Sampler = Annotated[
    str | None, typer.Option(help="ddim, dpm++ or unipc; the model's own if absent")
]
Device = Annotated[
    str,
    typer.Option(help="auto: CUDA, else MPS, if they work here, else the CPU; or cpu, cuda, ..."),
]
Dtype = Annotated[
    str,
    typer.Option(
        help="auto: float32, masks in bfloat16 on CPUs that have it; float32: everything; bfloat16 "
        "or float16: the denoiser, where they are fast"
    ),
]
Compile = Annotated[
    bool, typer.Option("--compile", help="compile the denoiser: minutes at first, for GPUs")
]
Format = Annotated[str, typer.Option("--format", help="wav, flac, mp3, m4a or opus")]
BitDepth = Annotated[
    str | None,
    typer.Option("--bit-depth", help="16 (dithered), 24 or 32f; wav: 32f by default, flac: 24"),
]
Bitrate = Annotated[
    str | None, typer.Option(help="of mp3, m4a and opus in kbit/s, e.g. 192k; good by default")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace existing results")]
Plot = Annotated[bool, typer.Option("--plot", help="also write a picture of the spectrograms")]


def _set(name: str) -> Callable[[bool], bool]:
    def callback(value: bool) -> bool:
        setattr(console, name, value)
        return value

    return callback


# commands need not look at these: they set up the console
Quiet = Annotated[
    bool, typer.Option("-q", "--quiet", callback=_set("quiet"), help="say what is wrong only")
]
Json = Annotated[
    bool, typer.Option("--json", callback=_set("as_json"), help="say results as JSON, one a line")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", callback=_set("verbose"), help="say where errors arose")
]


@dataclass(frozen=True, kw_only=True)
class Output:
    """Options of every command that gives results: how it says them."""

    quiet: Quiet = False
    json: Json = False
    verbose: Verbose = False


@dataclass(frozen=True, kw_only=True)
class OneModel(Output):
    """Options of commands that use a model, on the files that it is for."""

    model: Model = None
    device: Device = AUTO
    overwrite: Overwrite = False

    def load(self) -> StemModel:
        """The model; see ``load``."""
        return load(self.model, self.device)


@dataclass(frozen=True, kw_only=True)
class Common(OneModel):
    """Options of every task: how the model runs, how results are written."""

    plot: Plot = False
    seed: Seed = 0
    steps: Steps = None
    sampler: Sampler = None
    dtype: Dtype = "auto"
    compile: Compile = False
    format: Format = "wav"
    bit_depth: BitDepth = None
    bitrate: Bitrate = None

    def load(self) -> StemModel:
        return load(self.model, self.device, self.sampler, self.dtype, self.compile)

    @property
    def encoding(self) -> Encoding:
        """Of results; raises ``InputError`` for what there is not."""
        return encoding_of(self.format, self.bit_depth, self.bitrate)

    def sampling(self, progress: Progress | None, offset: int = 0, **more: Any) -> Sampling:
        """How latents are drawn, by the seed and ``offset``."""
        import torch

        from stemweave.tasks.sampling import Sampling

        generator = torch.Generator().manual_seed(self.seed + offset)
        return Sampling(steps=self.steps, generator=generator, progress=progress, **more)


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` for typer: of each parameter that is a class of options, these options."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    flat = []
    for name, parameter in signature(command).parameters.items():
        if name not in groups:
            flat.append(parameter.replace(annotation=hints[name], kind=Parameter.KEYWORD_ONLY))
            continue
        own = get_type_hints(groups[name], include_extras=True)
        for one in fields(groups[name]):
            kind, default = Parameter.KEYWORD_ONLY, one.default
            default = Parameter.empty if default is MISSING else default
            flat.append(Parameter(one.name, kind, default=default, annotation=own[one.name]))

    @wraps(command)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{one.name: given.pop(one.name) for one in fields(group)})
        command(**given)

    run.__signature__ = Signature(flat)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in flat}
    return run


@contextmanager
def uncollected() -> Iterator[None]:
    """For imports of torch: they make hundreds of thousands of objects that live as long as the
    process, and looking for garbage among them takes a third of a second.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def load(
    model: str | None,
    device: str = AUTO,
    sampler: str | None = None,
    dtype: str = "auto",
    compile: bool = False,
) -> StemModel:
    """The model that ``--model`` and ``--device`` name, with the sampler of ``--sampler``.

    A device that was chosen here is said. Its denoiser runs as ``--dtype`` and ``--compile`` say.
    """
    with uncollected():
        from stemweave.model import load_model

    source = None if model == "bundled" else model
    pipe = load_model(source, device, dtype=dtype, compile=compile, sampler=sampler)
    if device == AUTO:
        console.say_device(device_name(pipe.compute_device))
    return pipe


def chosen_stems(stems: Sequence[str], names: str | None, option: str) -> list[str]:
    """Those of ``stems`` that ``names`` ("bass,drums") lists, in their order; all if None."""
    if names is None:
        return list(stems)
    wanted = [name for name in names_in(names) if name]
    for name in wanted or [names]:
        if name not in stems:
            raise InputError(f"{option} {name!r} is not one of {', '.join(stems)}")
    return [stem for stem in stems if stem in wanted]


def chosen_sums(
    all_stems: Sequence[str], mixes: Sequence[str], without: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Stems to add up, by the name of their file: ``bass+drums``, ``without_drums``."""
    sums = {}
    for names in mixes:
        stems = chosen_stems(all_stems, names, "--mix")
        if len(stems) < 2:
            raise InputError(f"--mix {names} is one stem: --stems {names} writes it")
        sums["+".join(stems)] = tuple(stems)
    for names in without:
        absent = chosen_stems(all_stems, names, "--without")
        present = tuple(stem for stem in all_stems if stem not in absent)
        if not present:
            raise InputError(f"--without {names} leaves no stem")
        sums[f"without_{'+'.join(absent)}"] = present
    return sums


def plot_if(plot: bool, written: dict[str, Path], folder: Path) -> None:
    """Write a picture of the ``written`` files if ``--plot`` is on."""
    if plot:
        from stemweave.io.plots import plot_files

        plot_files(written, folder / PICTURE)


class Bar:
    """A progress bar while a task runs, on a terminal only and not with ``-q``."""

    def __init__(self, label: str) -> None:
        self.label = label

    def __enter__(self) -> Progress | None:
        self.bar: tqdm[Any] | None = None
        if not console.draws_bars:
            return None
        from tqdm import tqdm

        bar = self.bar = tqdm(desc=self.label, leave=False)

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return progress

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()


def names_in(text: str) -> list[str]:
    """Names that commas separate, without the spaces around them; some may be empty."""
    return [name.strip() for name in text.split(",")]


def whole_numbers(option: str, text: str) -> list[int]:
    """Whole numbers from 1 to 1000, separated by commas."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [0]
    if not all(1 <= number <= 1000 for number in numbers):
        raise InputError(f"{option} takes numbers from 1 to 1000 like 1,2,4, not {text!r}")
    return numbers

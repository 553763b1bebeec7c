"""``stemweave``: the command line. Options in, one sentence out when something is wrong.

Commands hold no machine learning; heavy imports wait until a command runs.
"""

from __future__ import annotations

import atexit
import gc
import sys
from importlib.metadata import version
from itertools import pairwise
from traceback import format_exc
from typing import Annotated

import typer

from stemweave.cli import (
    analyse,
    assemble,
    checkpoints,
    data,
    doctor,
    evaluate,
    export,
    pieces,
    render,
    separate,
    serve,
    train,
)
from stemweave.cli.console import console, sentence
from stemweave.cli.options import with_options
from stemweave.errors import InputError
from stemweave.io.ends import handled_signals
from stemweave.io.files import path_problem
from stemweave.io.notices import show_warnings
from stemweave.io.threads import prepare_threads

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _version(asked: bool) -> None:
    if asked:
        print(f"stemweave {version('stemweave')}")
        raise typer.Exit


@app.callback()
def options_of_all(
    shows_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="say which this is")
    ] = False,
) -> None:
    """Separate, generate, arrange and edit multi-track music with one diffusion model."""


for command in (
    separate.separate,
    pieces.generate,
    pieces.arrange,
    pieces.edit,
    pieces.extend,
    pieces.vary,
    analyse.analyse,
    export.export,
    render.compose,
    render.render,
    render.freedoom,
    assemble.assemble,
    checkpoints.average,
    checkpoints.compress,
    serve.serve,
    doctor.doctor,
):
    app.command()(with_options(command))
app.command("import")(checkpoints.import_model)
for name, group in {"data": data.app, "train": train.app, "evaluate": evaluate.app}.items():
    app.add_typer(group, name=name)


def main() -> None:
    """Run the command line; what users can mend becomes one line and exit code 2."""
    prepare_threads()
    show_warnings()
    console.reset()
    atexit.register(gc.freeze)  # what is collected at the end of Python would be all of torch
    with handled_signals():
        try:
            _refuse_empty(sys.argv[1:])
            app()
        except (InputError, OSError, RuntimeError) as error:
            problem = _problem(error)
            if problem is None:
                raise
            console.complain(problem, format_exc())
            sys.exit(2)


def _refuse_empty(arguments: list[str]) -> None:
    """A variable of a shell that was not set must not mean this folder, or the bundled model."""
    for before, argument in pairwise(["", *arguments]):
        if not argument or (argument.startswith("--") and argument.endswith("=")):
            after = argument or (before if before.startswith("-") else "")
            raise InputError(f"an argument is empty{f', after {after}' if after else ''}")


def _problem(error: InputError | OSError | RuntimeError) -> str | None:
    """One sentence for users, if the program is not to blame."""
    if isinstance(error, InputError):
        return sentence(error)
    if isinstance(error, OSError):
        return path_problem(error)
    from stemweave.models.acceleration import device_problem

    return device_problem(error)


if __name__ == "__main__":
    main()

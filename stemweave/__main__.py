"""``python -m stemweave``, and what the console script calls.

Signals are handled before anything else is imported.
"""

from stemweave.io import ends

ends.handle_signals()


def main() -> None:
    """Run the command line and end this process."""
    from stemweave.io.streams import open_standard_streams

    open_standard_streams()
    from stemweave.cli.main import main as run_command

    try:
        run_command()
    finally:
        ends.handle_signals(at_once=True)  # Python's own end takes time, too


if __name__ == "__main__":
    main()

"""Makes the pictures of docs/studio.md: a real studio in Chromium, state by state.

    python scripts/studio_pictures.py [docs/studio]

Needs what ``scripts/install-system-packages.sh browser`` installs.
"""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SONG = ROOT / "examples/freedoom_excerpt/mixture.flac"
COLOURS = 256


@contextlib.contextmanager
def studio(data: Path, *options: str) -> Iterator[str]:
    """Address of a running ``stemweave serve``."""
    command = [sys.executable, "-m", "stemweave", "serve", "--port", "0", "--data", str(data)]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().split()[-1]
        finally:
            server.terminate()


def main(out: Path) -> None:
    """Write the pictures to ``out``, with few colours to keep them small."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        song = work / "Evening at the mill.flac"
        song.symlink_to(SONG)
        with (
            studio(work / "open") as base,
            studio(work / "locked", "--token", "a token for the pictures") as locked,
        ):
            script = ROOT / "tests/browser/screenshots.mjs"
            subprocess.run(["node", script, base, song, work, locked], check=True)
        out.mkdir(parents=True, exist_ok=True)
        for picture in work.glob("*.png"):
            image = Image.open(picture).convert("RGB")
            small = image.quantize(COLOURS, kmeans=1, dither=Image.Dither.NONE)
            small.save(out / picture.name, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/studio")

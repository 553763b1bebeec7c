"""Lists songs of four stems as songs of three, without copying audio.

    python examples/three_stems.py MUSIC SONGS.jsonl

``low`` is the bass, ``beat`` the drums, ``chords`` the sum of guitar and piano. A list like this
makes any files in any folders into training data.
"""

import json
import os
import sys
from pathlib import Path

STEMS = {"low": ["bass"], "beat": ["drums"], "chords": ["guitar", "piano"]}


def three_stems(song: dict, music: Path, folder: Path) -> dict:
    """One line of the new list, whose paths are relative to ``folder``."""
    files = {
        stem: [f"{name}.flac" for name in names if name in song["stems"]]
        for stem, names in STEMS.items()
    }
    files = {stem: names for stem, names in files.items() if names}
    path = os.path.relpath(music / song["path"], folder)
    return {**song, "path": path, "stems": list(files), "files": files}


def main(music: Path, out: Path) -> None:
    lines = (music / "manifest.jsonl").read_text().splitlines()
    songs = [three_stems(json.loads(line), music, out.parent) for line in lines]
    out.write_text("".join(json.dumps(song) + "\n" for song in songs))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

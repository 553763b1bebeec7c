"""SoundFonts of training, validation and recorded instruments, and where they lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from stemweave.errors import InputError
from stemweave.render.mixdown import Sound
from stemweave.stems import STEMS

SOUNDFONT_FOLDERS = (
    Path("/usr/share/sounds/sf2"),
    Path("/usr/share/sounds/sf3"),
    Path("/usr/share/samples"),
    Path("/usr/share/minuet/soundfonts"),
    Path("data/soundfonts"),
)

TRAINING_SOUNDFONTS: dict[str, float] = {
    "FluidR3_GM.sf2": 1,
    "MuseScore_General_Full.sf2": 1,
    "GeneralUser-v1.47.sf2": 3,
    "sonivox.sf2": 2,
    "OPL-3_FM_128M.sf2": 0.3,
}
"""SoundFonts of the bundled model's training songs, with weights.

MuseScore's grew out of FluidR3; the others were recorded by other people.
"""

TRAINING_PITCHED_SOUNDFONTS: dict[str, float] = {"A320U.sf2": 2}
"""Not for drums: a cymbal of it is in the validation SoundFont too."""

TRAINING_DRUM_SOUNDFONTS: dict[str, float] = {
    "Black_Pearl_4_LV2.sf2": 0.8,
    "Red_Zeppelin_4_LV2.sf2": 0.8,
}
"""Acoustic kits that only drums are drawn from, beside the others."""


def _freepats(stem: str, programs: Iterable[int], weight: float) -> dict[str, float]:
    return {f"freepats_{stem}_{program:03d}.sf2": weight for program in programs}


TRAINING_INSTRUMENTS: dict[str, dict[str, float]] = {
    "bass": {"electric_bass.sf2": 1.5, **_freepats("bass", range(32, 39), 0.3)},
    "guitar": {
        "electric_guitar.sf2": 1.5,
        "acoustic_guitar.sf2": 1,
        "nylon_guitar.sf2": 0.7,
        **_freepats("guitar", range(24, 31), 0.4),
    },
    "piano": {
        "salamander_piano.sf2": 1.5,
        "upright_piano.sf2": 1,
        **_freepats("piano", (0, 1, 2, 4, 5), 0.4),
    },
}
"""SoundFonts of one instrument each (scripts/sampled_instruments.py and patch_instruments.py),
beside the others. FreePats' recordings were looked for in the validation SoundFont, bit by bit, and
none is in it."""

VALIDATION_SOUNDFONT = "TimGM6mb.sf2"
"""Never used in training; nor is csound's sf_GMbank.sf2, which shares its drum samples."""

OTHER = "other"
"""The stem of whatever is not one of the four classes."""

RECORDED = 0.5
"""Weight of all recorded instruments of a stem, relative to the other SoundFonts'."""


def find_soundfont(name: str) -> Path:
    """Path of an installed SoundFont or a given file; ``InputError`` if there is none."""
    candidates = [Path(name), *(folder / name for folder in SOUNDFONT_FOLDERS)]
    for path in candidates:
        if path.is_file():
            return path
    raise InputError(
        f"SoundFont {name} not found: give a file or run scripts/install-system-packages.sh render"
    )


def font_names(sounds: Mapping[str, Sound]) -> dict[str, str]:
    """Name of each stem's SoundFont."""
    return {stem: sound.font.name for stem, sound in sounds.items()}


def soundfonts_by_stem(
    soundfonts: Mapping[str, float] | None = None, instruments: str | None = None
) -> dict[str, list[tuple[Path, float]]]:
    """Files and weights for each stem (None: the training set's), or ``InputError``."""
    by_stem = dict.fromkeys((*STEMS, OTHER), _found(soundfonts or TRAINING_SOUNDFONTS))
    if soundfonts is None:
        for stem in by_stem:
            others = TRAINING_DRUM_SOUNDFONTS if stem == "drums" else TRAINING_PITCHED_SOUNDFONTS
            further = {**others, **TRAINING_INSTRUMENTS.get(stem, {})}
            by_stem[stem] = by_stem[stem] + _found(further)
    if instruments is None:
        return by_stem
    recorded = sorted(Path(instruments).glob("*.sf2"))
    if not recorded or not any(Path(instruments).glob("cabinets/*.wav")):
        raise InputError(
            f"{instruments} has no *.sf2 and cabinets/*.wav: run scripts/recorded_instruments.py"
        )
    for stem, files in by_stem.items():
        own = [path for path in recorded if path.name.startswith(f"{stem}_")]
        total = RECORDED * sum(weight for _, weight in files)
        by_stem[stem] = files + [(path, total / len(own)) for path in own]
    return by_stem


def _found(soundfonts: Mapping[str, float]) -> list[tuple[Path, float]]:
    return [(find_soundfont(name).absolute(), weight) for name, weight in soundfonts.items()]

"""The four stems of the default model and their order.

Every tensor with a stem axis ``S`` uses the order of the model it came from
(``denoiser.config.stems``); this is the order of the paper and of the bundled model.
"""

from __future__ import annotations

from collections.abc import Collection

STEMS: tuple[str, ...] = ("bass", "drums", "guitar", "piano")
"""Stem names in the paper's order (Section 3)."""

OTHER = "other"
"""Whatever else sounds: separated, never generated."""

MIXTURE = "mixture"
"""Name of the sum of all stems in files and results."""

PROGRAMS: dict[str, range] = {
    "piano": range(0, 8),
    "guitar": range(24, 32),
    "bass": range(32, 40),
}
"""General MIDI programs of each class, as in Slakh2100; drums are MIDI channel 10."""


def stem_of_program(program: int) -> str | None:
    """The class that a General MIDI program belongs to."""
    return next((stem for stem, programs in PROGRAMS.items() if program in programs), None)


def stem_of_file(name: str, stems: Collection[str]) -> str | None:
    """Which of ``stems`` a file is by its name without suffix; None: none of them.

    "bass", "Bass" or, as the studio's downloads are called, "My Song - Bass".
    """
    if name in stems:
        return name
    last = name.rpartition(" - ")[2].lower()
    return last if last in stems else None

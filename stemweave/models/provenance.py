"""What a trained part says of itself, and whether parts were trained for each other.

It lies in the part's ``config.json`` under ``TRAINED``: stems in their order, the front end, the
autoencoder. Of parts that say nothing nothing is found wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

TRAINED = "_trained"
FRONT_END = (
    "sample_rate", "n_fft", "win_length", "hop_length", "num_mels", "f_min", "f_max", "log_floor",
)  # fmt: skip
"""What of the log-mel a part depends on: not the length of a window."""
OF_STEMS = ("denoiser", "refiner", "sharpener")
"""Parts whose inputs or outputs are the stems in their order."""


def trained(config: Any) -> dict[str, Any]:
    """What a part's configuration says of its training; empty if nothing."""
    if isinstance(config, Mapping):
        return config.get(TRAINED) or {}
    return getattr(config, TRAINED, None) or {}


def misfits(
    part: str,
    said: Mapping[str, Any],
    *,
    stems: Sequence[str] | None = None,
    log_mel: Mapping[str, Any] | None = None,
    autoencoder: str | None = None,
) -> list[str]:
    """What ``part`` says of its training that is otherwise where it is to be used.

    ``autoencoder`` is what identifies the one at hand. None of anything is not compared.
    """
    problems = []
    theirs = said.get("stems")
    if part in OF_STEMS and stems is not None and theirs and list(theirs) != list(stems):
        problems.append(
            f"the {part} was trained for the stems {', '.join(theirs)}, not {', '.join(stems)}"
        )
    front_end = said.get("log_mel") or {}
    for name in FRONT_END:
        if log_mel is not None and name in front_end and front_end[name] != log_mel[name]:
            problems.append(
                f"the {part} was trained on log-mels of {name} {front_end[name]}, not "
                f"{log_mel[name]}"
            )
    its_own = said.get("autoencoder")
    if autoencoder is not None and its_own and its_own != autoencoder:
        problems.append(f"the {part} was trained on the latents of another autoencoder")
    return problems

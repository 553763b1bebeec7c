"""Stemweave: separate, generate and arrange multi-track music with one diffusion model.

An open implementation of MSG-LD (arXiv 2409.12346). Axis letters used in every signature:
``B`` batch, ``S`` stems, ``T`` samples, ``F`` mel frames, ``M`` mel bands, ``C`` latent channels,
``H``×``W`` latent grid (``H`` is time, ``W`` is frequency).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stemweave.errors import InputError
    from stemweave.io.piece import Piece
    from stemweave.model import StemModel, load_model
    from stemweave.model import StemModel as StemweavePipeline

__all__ = ["InputError", "Piece", "StemModel", "StemweavePipeline", "__version__", "load_model"]


def __getattr__(name: str) -> Any:
    """Public names; loading torch can wait until somebody needs one."""
    if name == "__version__":
        from importlib.metadata import version

        return version("stemweave")
    if name in ("InputError", "Piece"):
        from stemweave import errors
        from stemweave.io import piece

        return getattr(errors if name == "InputError" else piece, name)
    if name in __all__:
        from stemweave import model

        return getattr(model, "StemModel" if name == "StemweavePipeline" else name)
    raise AttributeError(f"module 'stemweave' has no attribute {name!r}")

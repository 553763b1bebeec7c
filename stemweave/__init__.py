"""Stemweave: separate, generate and arrange multi-track music with one diffusion model.

An open implementation of MSG-LD (arXiv 2409.12346). Axis letters used in every signature:
``B`` batch, ``S`` stems, ``T`` samples, ``F`` mel frames, ``M`` mel bands, ``C`` latent channels,
``H``×``W`` latent grid (``H`` is time, ``W`` is frequency).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stemweave.pipeline import StemweavePipeline

__all__ = ["StemweavePipeline"]


def __getattr__(name: str) -> Any:
    if name == "StemweavePipeline":  # loading torch can wait until somebody needs it
        from stemweave.pipeline import StemweavePipeline

        return StemweavePipeline
    raise AttributeError(f"module 'stemweave' has no attribute {name!r}")

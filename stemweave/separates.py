"""What every model can do: separate a mixture into its stems.

Must not import what ``loading`` hides: that would undo the command line's fast start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from stemweave.diffusion.sampler import Progress
from stemweave.models.parts import LatentGrid
from stemweave.tasks import requests, separate
from stemweave.tasks.requests import Method


class Separates(LatentGrid):
    """Separation, for whoever holds a model's parts and settings.

    Attributes:
        config: the ``TaskSettings``, or an object with the same attributes.
        scheduler: diffusers scheduler with the denoiser's prediction type.
    """

    config: Any
    scheduler: Any

    @property
    def methods(self) -> tuple[Method, ...]:
        """Of separation, the default one first."""
        return requests.METHODS if self.has_mask_network else requests.METHODS[1:]

    def separation_method(
        self, method: str | None, guidance: float | None = None, steps: int | None = None
    ) -> Method:
        """What ``separate`` does if asked so; raises ``InputError`` as it does."""
        return requests.chosen_method(method, self.has_mask_network, guidance, steps)

    def fetch_for(self, method: Method) -> None:
        """Have in memory what separation by ``method`` needs; raises ``InputError``."""
        self.fetch(separate.PARTS_OF[method])

    @torch.inference_mode()
    def separate(
        self,
        waveform: Tensor,
        sample_rate: int,
        *,
        stems: Sequence[str] | None = None,
        method: Method | None = None,
        guidance: float | None = None,
        steps: int | None = None,
        batch_windows: int | None = None,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Tensor]:
        """Stems of ``waveform`` (channels, samples) or (samples,), each of the same shape.

        With ``method`` "mask" (the default of models with a mask network) and "diffusion" (of
        others) masks cut the stems out of the waveform, and all stems add up to it; the mask
        network makes the ones, the diffusion the others. With "vocoder" the diffusion's stems are
        synthesised (the paper's way). ``guidance`` and ``steps`` are the diffusion's; a guidance
        other than 0 and 1 takes two network passes a step. ``batch_windows`` windows go through the
        networks at once, on GPUs as many as fit if None; the stems are the same. Raises
        ``InputError`` for what cannot be separated.
        """
        stack = requests.as_mixture(waveform)
        blocks = self.separate_blocks(
            lambda start, length: stack[:, start : start + length],
            stack.shape[-1],
            sample_rate,
            stems=stems,
            method=method,
            guidance=guidance,
            steps=steps,
            batch_windows=batch_windows,
            generator=generator,
            progress=progress,
        )
        parts: dict[str, list[Tensor]] = {}
        for block in blocks:
            for stem, part in block.items():
                parts.setdefault(stem, []).append(part)
        return {
            stem: torch.cat(list_, dim=-1).reshape(waveform.shape) for stem, list_ in parts.items()
        }

    def separate_blocks(
        self,
        read: Callable[[int, int], Tensor],
        num_samples: int,
        sample_rate: int,
        *,
        stems: Sequence[str] | None = None,
        method: Method | None = None,
        guidance: float | None = None,
        steps: int | None = None,
        batch_windows: int | None = None,
        generator: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> Iterator[dict[str, Tensor]]:
        """As ``separate`` for audio of any length: consecutive blocks of every stem.

        ``read(start, length)`` returns (channels, length) float32 samples of the mixture.
        """
        chosen = requests.known_stems(self.stems, stems or self.stems)
        requests.check_rate(sample_rate)
        requests.check_sampling(steps, guidance)
        requests.check_batch(batch_windows)
        method = self.separation_method(method, guidance, steps)
        blocks = separate.separate_blocks(
            self,
            read,
            num_samples,
            sample_rate,
            stems=chosen,
            method=method,
            guidance=self.config.separation_guidance if guidance is None else guidance,
            steps=steps or self.config.separation_steps,
            batch_windows=batch_windows,
            generator=generator,
            progress=progress,
        )
        while True:  # inference mode must not leak to the caller between two blocks
            with torch.inference_mode():
                block = next(blocks, None)
            if block is None:
                return
            yield block

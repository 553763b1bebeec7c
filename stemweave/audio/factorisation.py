"""Non-negative matrix factorisation (NMF) of each stem's magnitude spectrogram in a window.

A few spectra (notes, chords, strokes), each with its activation over time, explain a stem. A
spectrum that belongs to one stem in most frames belongs to it in all. Multiplicative updates for
the Kullback-Leibler divergence: Lee and Seung, "Algorithms for Non-negative Matrix Factorization",
NIPS 2000.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

ITERATIONS = 10
"""In which every stem is factorised by itself, before the joint ones."""
EXPONENT = 1.5
"""Of each multiplicative update: as far in two thirds of the iterations; 1.8 would overshoot."""
EPSILON = 1e-8


class Factors(NamedTuple):
    """K spectra of every stem and their activations, for every start."""

    templates: Tensor
    """(B, starts, S, bins, K)."""
    activations: Tensor
    """(B, starts, S, K, frames)."""

    def masks(self) -> Tensor:
        """Wiener masks (B, S, bins, frames) of the stems' models; their sum is one, or zero."""
        explained = self.templates.float() @ self.activations.float()
        return (explained / (explained.sum(dim=2, keepdim=True) + EPSILON)).mean(dim=1)

    def component_masks(self, parts: Tensor) -> Tensor:
        """Component-wise masks (B, S, bins, frames), whichever stem a spectrum was found in.

        A spectrum is shared among the stems in proportion to how much of it lies in each of their
        magnitudes, ``parts`` (B, S, bins, frames), over the whole window.
        """
        templates = self.templates.float().transpose(2, 3).flatten(3)  # all stems' side by side
        activations = self.activations.float().flatten(2, 3)
        whole = templates @ activations + EPSILON
        # energy of each component in each stem: sum over bins and frames of Wiener-filtered parts
        found = (parts[:, None] / whole[:, :, None]) @ activations.mT[:, :, None]
        shares = (templates[:, :, None] * found).sum(dim=-2, keepdim=True)
        shares = shares / (shares.sum(dim=2, keepdim=True) + EPSILON)
        explained = (templates[:, :, None] * shares) @ activations[:, :, None]
        return (explained / whole[:, :, None]).mean(dim=1)

    def truncated(self, num_bins: int) -> Factors:
        """The same of the first ``num_bins`` bins."""
        return Factors(self.templates[..., :num_bins, :], self.activations)

    def padded(self, num_components: int, starts: int) -> Factors:
        """The same masks of K factors, silent ones too, and ``starts`` of them, a multiple of
        its own.
        """
        missing = num_components - self.templates.shape[-1]
        times = starts // self.templates.shape[1]
        return Factors(
            functional.pad(self.templates, (0, missing)).repeat_interleave(times, dim=1),
            functional.pad(self.activations, (0, 0, 0, missing)).repeat_interleave(times, dim=1),
        )

    def normalised(self) -> Factors:
        """The same product with spectra of maximum one, which half precision can hold."""
        largest = self.templates.amax(dim=-2).clamp(min=EPSILON)
        activations = self.activations * largest[..., None]
        return Factors(self.templates / largest[..., None, :], activations)


@torch.no_grad()
def factorise(
    parts: Tensor,
    num_components: int,
    *,
    starts: int = 2,
    joint_iterations: int = 3,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Factors:
    """K = ``num_components`` spectra of every stem, from magnitudes (B, S, bins, frames).

    ``parts`` are the masked magnitudes of the mixture. Masks of ``starts`` factorisations from
    different random numbers are averaged. Equal parts and ``seed`` give equal factors, whatever the
    order of the stems. After ``ITERATIONS`` of each stem alone come ``joint_iterations`` in which
    the mixture is divided among the stems by their models. Large arrays are of ``dtype``, factors
    float32.
    """
    batch, stems, bins, frames = parts.shape
    parts = parts[:, None].float()
    mixture = parts.sum(dim=2, keepdim=True)
    level = parts.mean(dim=(-3, -2, -1), keepdim=True)
    shape = batch, starts, stems
    parts, mixture = parts.to(dtype), mixture.to(dtype)
    parts = parts.expand(*shape, -1, -1).flatten(0, 2)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(starts, 1, bins, num_components, generator=generator).to(parts.device)
    templates = (drawn * level + EPSILON).expand(*shape, -1, -1).flatten(0, 2)
    drawn = torch.rand(starts, 1, num_components, frames, generator=generator).to(parts.device)
    activations = drawn.expand(*shape, -1, -1).flatten(0, 2) + 1e-3
    scratch = torch.empty_like(parts)  # its memory is mapped once
    for _ in range(ITERATIONS):
        templates, activations = _updated(parts, templates, activations, scratch)
    for _ in range(joint_iterations):
        explained = torch.bmm(templates.to(dtype), activations.to(dtype), out=scratch)
        explained = explained.unflatten(0, shape)
        whole = explained.sum(dim=2, keepdim=True) + EPSILON
        shared = (explained * (mixture / whole)).flatten(0, 2)
        templates, activations = _updated(shared, templates, activations, scratch)
    return Factors(templates.unflatten(0, shape), activations.unflatten(0, shape))


def _updated(
    parts: Tensor, templates: Tensor, activations: Tensor, scratch: Tensor
) -> tuple[Tensor, Tensor]:
    """One update of both factors, (N, bins, K) and (N, K, frames), towards ``parts``."""
    # one more spectrum, always as faint, keeps quotients finite without a pass over all of them
    rows = functional.pad(templates, (0, 1), value=EPSILON).to(parts.dtype)

    def quotient(activations: Tensor) -> Tensor:
        """``parts`` over the model of them."""
        columns = functional.pad(activations, (0, 0, 0, 1), value=1.0)
        torch.bmm(rows, columns.to(parts.dtype), out=scratch)
        return torch.div(parts, scratch, out=scratch)

    def updated(factor: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
        return factor * numerator.float().div_(denominator + EPSILON).pow_(EXPONENT)

    numerator = rows[..., :-1].mT @ quotient(activations)
    activations = updated(activations, numerator, templates.sum(dim=-2)[..., None])
    numerator = quotient(activations) @ activations.to(parts.dtype).mT
    return updated(templates, numerator, activations.sum(dim=-1)[..., None, :]), activations

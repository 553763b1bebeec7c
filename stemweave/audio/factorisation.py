"""What a stem plays again and again, found by non-negative matrix factorisation.

A few spectra (notes, chords, strokes), each louder or softer over time, explain what a stem plays
in a window. Masks judge every moment nearly for itself. A factorisation of the parts that they give
to the stems lets all moments judge together: what belongs to one stem nearly everywhere is its own
everywhere. Updates are the multiplicative ones for the Kullback-Leibler divergence (Lee and Seung,
"Algorithms for Non-negative Matrix Factorization", NIPS 2000).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

ITERATIONS = 10
"""In which every stem's part is explained for itself."""
EXPONENT = 1.5
"""Of updates, which get as far with it in two thirds of the iterations; with 1.8 they overshoot."""
EPSILON = 1e-8


class Factors(NamedTuple):
    """K spectra of every stem and how loud each is over time, for every start."""

    templates: Tensor
    """(B, starts, S, bins, K)."""
    activations: Tensor
    """(B, starts, S, K, frames)."""

    def masks(self) -> Tensor:
        """Masks (B, S, bins, frames) that add up to one where anything is explained."""
        explained = self.templates.float() @ self.activations.float()
        return (explained / (explained.sum(dim=2, keepdim=True) + EPSILON)).mean(dim=1)

    def reassigned(self, parts: Tensor) -> Tensor:
        """Masks (B, S, bins, frames) by whom each spectrum belongs to, whoever it was found in.

        Of what a spectrum explains of the mixture, ``parts`` (B, S, bins, frames) give every stem
        some; as much of the whole spectrum is that stem's. Masks add up as those of ``masks`` do.
        """
        templates = self.templates.float().transpose(2, 3).flatten(3)  # all stems' side by side
        activations = self.activations.float().flatten(2, 3)
        whole = templates @ activations + EPSILON
        given = (parts[:, None] / whole[:, :, None]) @ activations.mT[:, :, None]
        shares = (templates[:, :, None] * given).sum(dim=-2, keepdim=True)
        shares = shares / (shares.sum(dim=2, keepdim=True) + EPSILON)
        explained = (templates[:, :, None] * shares) @ activations[:, :, None]
        return (explained / whole[:, :, None]).mean(dim=1)

    def of_rows(self, number: int) -> Factors:
        """The same of the first ``number`` bins."""
        return Factors(self.templates[..., :number, :], self.activations)

    def padded(self, num_components: int, starts: int) -> Factors:
        """The same masks of more factors: silent spectra up to K, every start as often as needed.

        ``starts`` is a multiple of those there are.
        """
        missing = num_components - self.templates.shape[-1]
        times = starts // self.templates.shape[1]
        return Factors(
            functional.pad(self.templates, (0, missing)).repeat_interleave(times, dim=1),
            functional.pad(self.activations, (0, 0, 0, missing)).repeat_interleave(times, dim=1),
        )

    def balanced(self) -> Factors:
        """The same product, of spectra that half precision can hold: the largest number is one."""
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

    ``parts`` are the mixture's magnitudes, each stem's share of them. There are as many
    factorisations as ``starts``, each from other random numbers: what their masks err in differs,
    so the mean is better. The same parts and ``seed`` give the same factors, in whatever order the
    stems are. After ``ITERATIONS`` come the joint ones, in which stems share the mixture by what
    explains them. What is as large as the parts is of ``dtype``; factors are float32 anyway.
    """
    batch, stems, bins, frames = parts.shape
    parts = parts[:, None].float()
    mixture = parts.sum(dim=2, keepdim=True)
    level = parts.mean(dim=(-3, -2, -1), keepdim=True)
    shape = batch, starts, stems
    parts, mixture = parts.to(dtype), mixture.to(dtype)
    parts = parts.expand(*shape, -1, -1).flatten(0, 2)
    generator = torch.Generator().manual_seed(seed)

    def start(rows: int, columns: int) -> Tensor:
        drawn = torch.rand(starts, 1, rows, columns, generator=generator)
        return drawn.to(parts.device)

    templates = start(bins, num_components) * level + EPSILON
    templates = templates.expand(*shape, -1, -1).flatten(0, 2)
    activations = start(num_components, frames).expand(*shape, -1, -1).flatten(0, 2) + 1e-3
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
    """Both factors (N, bins, K) and (N, K, frames), one after the other, nearer to ``parts``."""
    # one more spectrum, always as faint, keeps quotients finite without a pass over all of them
    rows = functional.pad(templates, (0, 1), value=EPSILON).to(parts.dtype)

    def missing(activations: Tensor) -> Tensor:
        """By how much what is explained is too small."""
        columns = functional.pad(activations, (0, 0, 0, 1), value=1.0)
        torch.bmm(rows, columns.to(parts.dtype), out=scratch)
        return torch.div(parts, scratch, out=scratch)

    def grown(factor: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
        return factor * wanted.float().div_(weight + EPSILON).pow_(EXPONENT)

    louder = rows[..., :-1].mT @ missing(activations)
    activations = grown(activations, louder, templates.sum(dim=-2)[..., None])
    fuller = missing(activations) @ activations.to(parts.dtype).mT
    return grown(templates, fuller, activations.sum(dim=-1)[..., None, :]), activations

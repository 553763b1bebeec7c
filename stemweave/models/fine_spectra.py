"""What the log-mel of one window length hides: sharper attacks and narrower harmonics.

Shapes: waveforms (B, T) → fine spectra (B, 8, F / 2, M / 2) for mel spectra (B, F, M).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stemweave.models.log_mel import slaney_basis

FINE_CHANNELS = 8


class FineSpectra(nn.Module):
    """Log-mels of a window a quarter and of one twice as long as the model's, on half its grid.

    The short window has twice the frames of the model's and half of the bands, the long one half
    of the frames and twice the bands: each gives four numbers for a place two frames long and two
    bands high, which are its channels.

    Args:
        sample_rate: Hz.
        hop_length: samples between frames of the model's log-mel.
        num_mels: its bands M.
        win_length: samples of its window.
        log_floor: its smallest magnitude.
    """

    short_basis: Tensor
    long_basis: Tensor
    short_window: Tensor
    long_window: Tensor

    def __init__(
        self, sample_rate: int, hop_length: int, num_mels: int, win_length: int, log_floor: float
    ) -> None:
        super().__init__()
        self.hop_length, self.log_floor = hop_length, log_floor
        resolutions = {
            "short": (win_length // 4, num_mels // 2),
            "long": (2 * win_length, 2 * num_mels),
        }
        for name, (length, bands) in resolutions.items():
            basis = torch.empty(length // 2 + 1, bands)
            if not basis.is_meta:  # else the saved one is about to be loaded
                basis = slaney_basis(length, bands, 0.0, sample_rate / 2, sample_rate)
            self.register_buffer(f"{name}_basis", basis)
            window = torch.hann_window(length, periodic=True, device="cpu")
            self.register_buffer(f"{name}_window", window)

    def forward(self, waveform: Tensor) -> Tensor:
        """Fine spectra of waveforms (B, T) at the model's level; T a multiple of two hops."""
        short = self._log_mel(waveform, self.short_window, self.short_basis, self.hop_length // 2)
        long = self._log_mel(waveform, self.long_window, self.long_basis, 2 * self.hop_length)
        short = short.unflatten(1, (-1, 4)).transpose(2, 3)
        long = long.unflatten(2, (-1, 4))
        return torch.cat([short, long], dim=-1).permute(0, 3, 1, 2)

    def _log_mel(self, waveform: Tensor, window: Tensor, basis: Tensor, hop_length: int) -> Tensor:
        """(B, T // hop_length, bands), whatever the precision of the network around it."""
        spectrum = torch.stft(
            waveform.float(),
            len(window),
            hop_length,
            window=window.float(),
            pad_mode="constant",
            return_complex=True,
        )
        frames = waveform.shape[-1] // hop_length
        magnitude = spectrum[..., :frames].abs().transpose(1, 2)
        return torch.clamp(magnitude @ basis.float(), min=self.log_floor).log()

"""Broadcast WAV: sound that says where on a time line it belongs, and what of it is a loop.

Chunk ``bext`` as in EBU Tech 3285, ``smpl`` as in the RIFF specification of 1994; libsndfile writes
both, from structs of its header file.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path

from stemweave.io.decode import AudioInfo, AudioReader
from stemweave.io.encoders import command, open_sound
from stemweave.io.files import writing_failed

BLOCK_SAMPLES = 1 << 19
SFC_SET_INSTRUMENT, SFC_SET_BROADCAST_INFO = 0x10D1, 0x10F1
SF_LOOP_FORWARD = 801
MAX_LOOPS = 16
MIDDLE_C = 60


def write_broadcast_wav(
    source: Path, target: Path, start_s: float = 0.0, loop_s: tuple[float, float] | None = None
) -> None:
    """Write ``source`` as 32-bit float WAV.

    Args:
        start_s: where on the time line its first sample belongs, not before 0.
        loop_s: times in it between which samplers repeat it.

    Raises:
        InputError: if ``source`` cannot be read or ``target`` cannot be written.
    """
    with AudioReader(source) as reader:
        info = reader.info
        size = info.sample_rate, info.channels, info.num_samples
        try:
            with open_sound(target, "WAV", "FLOAT", *size) as sound:
                command(sound, SFC_SET_BROADCAST_INFO, _broadcast_info(info, start_s))
                if loop_s is not None:
                    command(sound, SFC_SET_INSTRUMENT, _instrument(info, loop_s))
                for start in range(0, info.num_samples, BLOCK_SAMPLES):
                    block = reader(start, min(BLOCK_SAMPLES, info.num_samples - start))
                    sound.write(block.numpy().T)
        except (OSError, RuntimeError) as error:  # libsndfile's are RuntimeErrors
            raise writing_failed(target, error) from error


def _broadcast_info(info: AudioInfo, start_s: float) -> bytes:
    """``SF_BROADCAST_INFO``, dated as the file that the sound is of."""
    made = time.localtime(info.path.stat().st_mtime)
    start = round(start_s * info.sample_rate)
    return struct.pack(
        "@256s32s32s10s8sIIh64s5h180sI256s",
        info.path.stem.encode("ascii", "replace"),
        b"Stemweave",
        b"",
        time.strftime("%Y-%m-%d", made).encode(),
        time.strftime("%H:%M:%S", made).encode(),
        start & 0xFFFFFFFF,
        start >> 32,
        1,  # of the chunk: one without loudness
        *(b"", 0, 0, 0, 0, 0, b"", 0, b""),
    )


def _instrument(info: AudioInfo, loop_s: tuple[float, float]) -> bytes:
    """``SF_INSTRUMENT`` of one forward loop; its end is the first sample after it."""
    start, end = (min(max(round(at * info.sample_rate), 0), info.num_samples) for at in loop_s)
    loops = struct.pack("@iIII", SF_LOOP_FORWARD, start, end, 0)
    loops += bytes(struct.calcsize("@iIII") * (MAX_LOOPS - 1))
    return struct.pack("@i6bi", 1, MIDDLE_C, 0, 0, 127, 0, 127, 1) + loops

"""Users who upload songs to the studio at once and separate them; is anything lost, and what does
it take?

.venv/bin/python scripts/studio_load.py [--users 20] [--minutes 3]  →  docs/scores/studio_load.json
"""

from __future__ import annotations

import argparse
import io
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
import soundfile
import soxr

ROOT = Path(__file__).parent.parent
EXCERPT = ROOT / "examples" / "freedoom_excerpt" / "mixture.flac"
SAMPLE_RATE = 44100
TOLERANCE = 1e-4
"""Largest sample by which the stems may miss their mixture."""


def song(minutes: float, user: int) -> bytes:
    """The bundled excerpt over and over as 16-bit stereo FLAC, for each user from another place."""
    samples, rate = soundfile.read(EXCERPT, dtype="float32", always_2d=True)
    samples = soxr.resample(np.repeat(samples, 2, axis=1)[:, :2], rate, SAMPLE_RATE)
    samples = np.roll(samples, user * SAMPLE_RATE // 2, axis=0)
    length = round(minutes * 60 * SAMPLE_RATE)
    samples = np.tile(samples, (-(-length // len(samples)), 1))[:length]
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


class User:
    """One client; counts its requests."""

    def __init__(self, url: str, content: bytes) -> None:
        self.client = httpx.Client(
            base_url=url, timeout=600, event_hooks={"response": [self._count]}
        )
        self.content = content
        self.requests = 0

    def _count(self, response: httpx.Response) -> None:
        self.requests += 1
        if response.status_code >= 400:
            response.read()
            raise RuntimeError(f"{response.request.url}: {response.status_code} {response.text}")

    def work(self) -> None:
        """Upload, separate, follow the events, download the stems and check them."""
        files = {"mixture": ("song.flac", self.content)}
        project = self.client.post("/api/projects", files=files).json()
        job = self.client.post(f"/api/projects/{project['id']}/jobs", json={"task": "separate"})
        job_path = f"/api/jobs/{job.json()['id']}"
        with self.client.stream("GET", f"{job_path}/events", timeout=3600) as events:
            states = [json.loads(line[6:])["state"] for line in events.iter_lines() if "{" in line]
        ended = self.client.get(job_path).json()
        if states[-1] != "done" or ended["state"] != "done":
            raise RuntimeError(f"{job_path} ended as {ended}")
        version = self.client.get(f"/api/versions/{ended['result_version_id']}").json()
        path = f"/api/versions/{version['id']}/tracks"
        mixture = soundfile.read(io.BytesIO(self.content), dtype="float32")[0]
        for track in version["tracks"]:
            if track["name"] != "mixture":
                wav = self.client.get(f"{path}/{track['name']}").content
                mixture -= soundfile.read(io.BytesIO(wav), dtype="float32")[0]
        if np.abs(mixture).max() > TOLERANCE:
            raise RuntimeError(f"{path}: the stems do not add up to the song")


def watch(process: psutil.Process, peak_bytes: list[int], stop: threading.Event) -> None:
    """Keep the largest resident memory of ``process`` in ``peak_bytes[0]``."""
    while not stop.wait(0.2):
        peak_bytes[0] = max(peak_bytes[0], process.memory_info().rss)


def main() -> None:
    """Serve, let the users work, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "scores" / "studio_load.json")
    options = parser.parse_args()
    contents = [song(options.minutes, user) for user in range(options.users)]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "stemweave", "serve", "--port", "0", "--data", folder]
        server = subprocess.Popen(
            [*command, "--max-queue", str(options.users)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found, "the server did not start"
        process, peak_bytes, stop = psutil.Process(server.pid), [0], threading.Event()
        watcher = threading.Thread(target=watch, args=(process, peak_bytes, stop))
        idle_mb = process.memory_info().rss / 1e6
        watcher.start()
        users = [User(found.group(), content) for content in contents]
        began = time.perf_counter()
        try:
            with ThreadPoolExecutor(options.users) as pool:
                futures = [pool.submit(user.work) for user in users]
            seconds = time.perf_counter() - began
            failures = [str(error) for future in futures if (error := future.exception())]
        finally:
            stop.set()
            watcher.join()
            server.terminate()
            server.wait(60)
    result = {
        "users": options.users,
        "audio_minutes_each": options.minutes,
        "channels": 2,
        "sample_rate": SAMPLE_RATE,
        "requests": sum(user.requests for user in users),
        "lost": len(failures),
        "seconds": round(seconds),
        "idle_memory_mb": round(idle_mb),
        "peak_memory_mb": round(peak_bytes[0] / 1e6),
    }
    print(json.dumps(result))
    if failures:
        sys.exit("\n".join(failures))
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

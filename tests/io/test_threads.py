"""Threads of computations: how many, by affinity and control groups, and how they wait."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stemweave.io import threads

COMMAND = """
import os, sys
from stemweave.cli.main import main
from stemweave.io import threads
threads.usable_cores = lambda: 1
threads._allowed_cores = lambda: 4
sys.argv = ["stemweave", "--help"]
try:
    main()
except SystemExit:
    pass
assert "torch" not in sys.modules
print(os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_NUM_THREADS"))
"""
IN_A_WORKER = """
import os
from stemweave.io.jobs import Workers, map_jobs
from stemweave.io.threads import prepare_threads

if __name__ == "__main__":
    prepare_threads()
    print(*map_jobs(os.getenv, ["GOMP_SPINCOUNT"], Workers(1)))
"""
VARIABLES = ("GOMP_SPINCOUNT", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")


def after_a_command(**environment: str) -> str:
    """OpenMP's settings once a command has begun, in a container of one of four cores."""
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND],
        capture_output=True,
        text=True,
        check=True,
        env={**clean, **environment},
    )
    return done.stdout.splitlines()[-1]


def test_commands_set_what_the_user_has_not():
    assert after_a_command() == "1000 1"
    assert after_a_command(GOMP_SPINCOUNT="7", OMP_NUM_THREADS="3") == "7 3"
    assert after_a_command(OMP_WAIT_POLICY="active") == "None 1"


def test_workers_wait_as_the_command_does(tmp_path: Path):
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    (tmp_path / "program.py").write_text(IN_A_WORKER)
    command = [sys.executable, tmp_path / "program.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean)
    assert done.stdout.split() == ["1000"]


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write /proc/self/cgroup and files below /sys/fs/cgroup; a machine of 16 cores."""
    monkeypatch.setattr(threads, "CGROUPS", tmp_path / "fs")
    monkeypatch.setattr(threads, "MEMBERSHIP", tmp_path / "cgroup")
    monkeypatch.setattr(threads, "_allowed_cores", lambda: 16)

    def write(membership: str, **files: str) -> None:
        (tmp_path / "cgroup").write_text(membership)
        for name, text in files.items():
            path = tmp_path / "fs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, 16),
        ("0::/\n", {"cpu.max": "400000 100000\n"}, 4),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "10000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "9900000 100000\n"}, 16),
        ("0::/\n", {"cpu.max": "nonsense"}, 16),
        ("0::/\n", {}, 16),
        # the tightest of a group and those above it
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),
        # a container that sees the path of its host, but its own files
        ("0::/docker/1f\n", {"cpu.max": "200000 100000\n"}, 2),
        (
            "5:cpuset:/\n4:cpu,cpuacct:/job\n0::/\n",
            {
                "cpu,cpuacct/job/cpu.cfs_quota_us": "250000\n",
                "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 16),
    ],
)
def test_control_groups_limit_the_cores(groups, membership, files, cores):
    groups(membership, **files)
    assert threads.usable_cores() == cores


def test_without_control_groups_the_affinity_counts(groups, tmp_path):
    assert threads.usable_cores() == 16

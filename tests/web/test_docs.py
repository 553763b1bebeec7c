"""docs/serve.md: its Python runs as written; its options and files exist. The Dockerfile's, too."""

import inspect
import re
import shlex
from pathlib import Path

from stemweave.cli.serve import serve
from tests.web.conftest import on_a_socket

ROOT = Path(__file__).parent.parent.parent
DOCS = (ROOT / "docs" / "serve.md").read_text()


def test_the_client_runs(studio, here):
    (code,) = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    lines = [line for line in code.splitlines() if line and not line.startswith("import")]
    assert len(lines) <= 10
    names: dict = {}
    with on_a_socket(studio.app(), 5.0) as url:
        exec(code.replace("http://127.0.0.1:8000", url), names)
    assert names["bass"].shape == (882_000, 2) and names["sample_rate"] == 44_100
    assert names["job"]["state"] == "done"


def test_options_are_those_of_the_command():
    parameters = inspect.signature(serve).parameters
    options = {f"--{name.replace('_', '-')}": value.default for name, value in parameters.items()}
    rows = re.findall(r"^\| (`--.+?) \| (.+?) \|", DOCS, re.MULTILINE)
    documented = {}
    for names, defaults in rows:
        for name, default in zip(
            re.findall(r"--[\w-]+", names), defaults.split(", "), strict=False
        ):
            documented[name] = default.strip("`")
    assert set(documented) == set(options)
    for name, default in options.items():
        if isinstance(default, (int, float)):
            assert float(documented[name]) == default


def test_the_table_has_every_request(client):
    (table,) = re.findall(r"^\| request \|.*?\n\n", DOCS, re.MULTILINE | re.DOTALL)
    documented = set()
    for row in table.splitlines()[2:]:
        methods: list[str] = []
        for words in re.findall(r"`([^`]+)`", row.split(" | ")[0]):
            *before, path = words.split() if "/" in words else (words, "")
            methods += before
            if path:
                path = re.sub(r"\{\w+\}", "{}", path.partition("?")[0])
                documented |= {(method.lower(), path) for method in methods}
                methods = []
    paths = client.get("/openapi.json").json()["paths"]
    there = {(method, re.sub(r"\{\w+\}", "{}", path)) for path in paths for method in paths[path]}
    assert documented == there


def test_files_exist():
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", DOCS):
        if path != "scores/studio_load.json":  # written by the measurement itself
            assert (ROOT / "docs" / path).exists(), path
    for path in re.findall(r"`(scripts/[\w.]+)", DOCS):
        assert (ROOT / path).exists(), path


def test_the_image_holds_what_it_needs():
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", "").splitlines()
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if "!" in line]
    copied = [source for line in lines if line.startswith("COPY") for source in line.split()[1:-1]]
    for source in copied:
        assert (ROOT / source).exists() and source.removeprefix("./") in kept
    (entry,) = [line for line in lines if line.startswith("ENTRYPOINT")]
    words = shlex.split(entry.removeprefix("ENTRYPOINT ").strip("[]").replace(",", " "))
    assert words[:2] == ["stemweave", "serve"]
    options = {f"--{name}" for name in inspect.signature(serve).parameters}
    assert {word for word in words if word.startswith("--")} <= options
    torch = re.search(r"torch==([\d.]+)", "\n".join(lines))
    assert torch and f"torch=={torch.group(1)}" in (ROOT / "constraints.txt").read_text()


def test_the_token_is_documented():
    assert "STEMWEAVE_TOKEN" in DOCS

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint scores baselines baseline-scores analysis-libraries bench clean

demo: $(VENV)/.inference  ## separate a real song, generate a piece, arrange missing stems
	$(BIN)/python scripts/demo.py --out out/demo

test: lint  ## style, types and tests
	scripts/install-system-packages.sh test
	$(BIN)/python -m pytest -q -m "not ray"
	$(BIN)/python -m pytest -q -m ray

lint: $(VENV)/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

scores: $(VENV)/.development  ## docs/scores and the README's table, from composed and human songs
	scripts/install-system-packages.sh render
	scripts/scores.sh

baselines: $(VENV)/.baselines  ## what baselines/ needs: the demucs and a-unet packages, without torchaudio

bench: $(VENV)/.baselines  ## time and memory of everything: benchmarks/results.md, in under 20 minutes
	$(BIN)/python -m benchmarks

baseline-scores: $(VENV)/.baselines  ## train every baseline and write its scores to docs/scores
	scripts/install-system-packages.sh render
	scripts/baselines.sh

$(VENV)/.inference: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) torch==2.13.0
	$(PIP_INSTALL) -e '.[eval]'
	touch $@

$(VENV)/.development: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) torch==2.13.0
	$(PIP_INSTALL) -e '.[render,voices,train,eval,scale,web,bench,dev]'
	touch $@ $(VENV)/.inference

$(VENV)/.baselines: baselines/requirements.txt $(VENV)/.development
	$(PIP_INSTALL) --no-deps -r baselines/requirements.txt
	touch $@

analysis-libraries: $(VENV)/.development  ## packages that "evaluate analysis" measures beside ours
	$(PIP_INSTALL) --no-deps -r baselines/requirements-analysis.txt

clean:
	rm -rf $(VENV) out

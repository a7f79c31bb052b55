PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test setup fmt lint check golden docs bench history sweep stats browser truth warmup clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1\t/p' Makefile | expand -t 16

demo: setup ## Set up, then simulate a first scenario and print its table
	@$(BIN)/memsim run first-look

test: ## Set up, then pass everything that a change must pass (what .ci/run runs)
	@.ci/run

setup: .venv/.ok ## Install memsim and its tools into .venv, once

.venv/.ok: pyproject.toml .ci/setup
	@.ci/setup $(PYTHON)
	@touch $@

fmt: setup ## Format the sources and mend what ruff can mend
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

lint: setup ## Check style and types
	@$(BIN)/ruff check && $(BIN)/ruff format --check
	@$(BIN)/mypy

check: lint ## Before a commit: lint, the quick tests, and results against their baselines
	@$(BIN)/pytest -q tests/architecture tests/unit
	@$(BIN)/memsim check --baseline results/baselines

golden: setup ## Rewrite the golden tables and show what changed
	@$(BIN)/pytest -q tests/golden --update-golden
	@git diff --stat -- tests/golden

docs: setup ## Rewrite the parts of docs/ that commands print
	@PYTHONPATH=tests $(BIN)/python -m generated_docs

bench: setup ## Measure speed and memory beside the C program, into results/bench/latest.csv
	@$(BIN)/python -m bench.run

history: setup ## Repeat the tests of 2005 with ten seeds and rewrite the tables in docs/history.md
	@$(BIN)/python -m bench.history

soak: setup ## Carry out 10,000 moves and removals with faults, then 10^9 events under pressure
	@$(BIN)/python -m bench.faults
	@$(BIN)/python -m bench.soak

sweep: setup ## Carry out 780 trials on every executor and compare the bytes of all tables
	@$(BIN)/python -m bench.sweep

stats: setup ## Measure how often the verdicts of memsim compare err, in simulated comparisons
	@PYTHONPATH=tests $(BIN)/python -m planted

browser: setup ## Open reports in Chromium (Debian: apt install chromium chromium-driver)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[browser]'
	@MEMSIM_BROWSER=required $(BIN)/pytest -q -s tests/browser

truth: setup ## Judge memsim against captures of a real kernel: make truth CAPTURES=DIR
	@test -d "$(CAPTURES)" || { echo "usage: make truth CAPTURES=DIR" >&2; exit 2; }
	@MEMSIM_CAPTURES="$(abspath $(CAPTURES))" $(BIN)/pytest tests/truth

warmup: setup ## Compile the kernels now, so that the first run need not
	@$(BIN)/memsim warmup

clean: ## Remove .venv and the tools' caches; results stay
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build
	@find memsim tests bench -name __pycache__ -prune -exec rm -rf {} +

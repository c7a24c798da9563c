# gatewright's commands. All of them use .venv, which is made where it is missing.
# Needs python3 >= 3.11 with venv, make and a C++ compiler; on Debian and Ubuntu: apt install python3-venv make g++ perl

PYTHON ?= python3
PIP := .venv/bin/python -m pip install --quiet --disable-pip-version-check
GATEWRIGHT := .venv/bin/gatewright

.PHONY: help venv demo test check bench fuzz clean

help:
	@echo "make demo    compile, verify and synthesise the demo model; report in demo/report.html"
	@echo "make test    run the whole test suite (a part of it: make test PYTEST='-n 0 -k rtl')"
	@echo "make check   lint and type check"
	@echo "make bench   measure the speed of compiling, evaluating and verifying"
	@echo "make fuzz    compare N random models (make fuzz N=10000) with the judge; what disagrees becomes a case file"
	@echo "make venv    make .venv with everything that development needs"
	@echo "make clean   remove .venv and all that was made"

venv: .venv/ready-all

# for a clock of 5 ns: the rest is left to placement
demo: .venv/ready-demo
	$(GATEWRIGHT) compile examples/digits/digits.onnx -o demo --clock 4.6
	$(GATEWRIGHT) verify demo --level rtl --data examples/digits/digits_test.npz
	$(GATEWRIGHT) verify demo --level all
	$(GATEWRIGHT) synth demo
	$(GATEWRIGHT) report demo

test: .venv/ready-all
	.venv/bin/python -m pytest -n auto $(PYTEST)

check: .venv/ready-all
	.venv/bin/python -m ruff check .
	.venv/bin/python -m mypy

bench: .venv/ready-all
	.venv/bin/python -m benchmarks.speed

N ?= 1000
fuzz: .venv/ready-all
	PYTHONPATH=.:tests .venv/bin/python tests/fuzz/run.py --models $(N) $(if $(SEED),--seed $(SEED))

clean:
	rm -rf .venv demo out build dist gatewright.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# The environment. The ready-* files are as new as the pyproject.toml that was installed.

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "gatewright needs Python 3.11 or newer; $(PYTHON) is older or missing. Give one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "this Python cannot make virtual environments. Install that: apt install python3-venv"; exit 1; }
	@command -v g++ >/dev/null || command -v clang++ >/dev/null || command -v c++ >/dev/null || { \
	  echo "there is no C++ compiler, which RTL simulation needs. Install one: apt install g++"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/ready-demo: pyproject.toml | .venv/bin/pip
	@echo "installing into .venv (the first time some hundred megabytes are downloaded)"
	$(PIP) -e '.[sim,synth]'
	@touch $@

.venv/ready-all: pyproject.toml | .venv/bin/pip
	@echo "installing into .venv (the first time some hundred megabytes are downloaded)"
	$(PIP) -e '.[sim,synth,hls,examples,dev]'
	@touch $@ .venv/ready-demo

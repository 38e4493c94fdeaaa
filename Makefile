# `make demo` runs the main job, `make test` every check, `make docs` builds the site; what they need goes into .venv.
# On a machine with an NVIDIA GPU: `make demo TORCH=cuda`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH ?= cpu
TORCH_RELEASE := torch==2.13.0

# What the tests of pictures and pages need of the system: Open3D's libraries and a browser.
SYSTEM := libusb-1.0-0 libegl1 libgl1 chromium

.PHONY: demo test system lint docs unit trials format clean
.DELETE_ON_ERROR:

demo: $(VENV)/.pcclora
	$(BIN)/python tools/train_cls.py

test: system lint docs unit

# Installed where it may be; elsewhere the line that does it, and the tests that need it are skipped.
system:
	@command -v apt-get >/dev/null || exit 0; \
	missing() { for name in $(SYSTEM); do dpkg -s $$name >/dev/null 2>&1 || echo $$name; done; }; \
	if [ "$$(id -u)" = 0 ] && [ -n "$$(missing)" ]; then \
		apt-get update -qq; \
		for name in $$(missing); do DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $$name >/dev/null; done; \
	fi; \
	if [ -n "$$(missing)" ]; then echo "to run every test: sudo apt-get install -y" $$(missing); fi

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The pages and the reference of the Python names as a site, build/site/index.html. A broken link or reference fails.
docs: $(VENV)/.docs
	$(BIN)/sphinx-build -q -W --keep-going -c docs/site -d build/doctrees . build/site

# Idle OpenMP threads must not spin: two workers share two cores. The folder lets timm be imported where torch is a CPU
# build and torchvision is not.
unit: $(VENV)/.dev $(VENV)/peft-oldest
	PYTHONPATH=$(CURDIR)/tests/cpu_torchvision$${PYTHONPATH:+:$$PYTHONPATH} OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n 2 -m "not gpu and not long"

# Damage, hostile files and faults in numbers that nobody waits for: about ten minutes. Prints a table of each.
trials: $(VENV)/.dev
	PYTHONPATH=$(CURDIR)/tests/cpu_torchvision$${PYTHONPATH:+:$$PYTHONPATH} OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest tests/robustness -m "slow or long" -s

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# A package index's own Linux wheel of torch carries gigabytes of CUDA, so a machine without a GPU takes the CPU build:
# the one that pip's own configuration offers, else the one that uv knows how to find.
$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	@if [ "$(TORCH)" = cpu ] && [ "$$(uname)" = Linux ] \
		&& ! $(BIN)/pip index versions torch 2>/dev/null | grep -qF '$(subst torch==,,$(TORCH_RELEASE))+cpu'; then \
		$(BIN)/pip install -q uv && VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --torch-backend=cpu $(TORCH_RELEASE); \
	else $(BIN)/pip install -q $(TORCH_RELEASE); fi
	@touch $@

$(VENV)/.pcclora: $(VENV)/.torch pyproject.toml setup.py pcclora/ops/geometry.cpp
	$(BIN)/pip install -q -e '.[train]'
	@touch $@

$(VENV)/.dev: $(VENV)/.pcclora
	$(BIN)/pip install -q -e '.[dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.pcclora
	$(BIN)/pip install -q -e '.[train,docs]'
	@touch $@

# The oldest peft that the extra admits, beside the newest: a test puts it first on PYTHONPATH.
$(VENV)/peft-oldest: $(VENV)/.dev
	rm -rf $@
	$(BIN)/pip install -q --no-deps --target $@ peft==0.18.0

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache

# Commands of developers: install, try, test, format, train. `make` lists them.
# Everything is installed in .venv of this folder; `rm -rf .venv` starts over.

PYTHON ?= python3
# The tested range. TORCH_INDEX selects another build of torch, for example the smaller one without CUDA:
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH ?= torch>=2.11,<2.14
TORCH_INDEX ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
CXX_FILES := $(shell find csrc -name '*.cpp' -o -name '*.h')
CUDA_FILES := $(shell find csrc -name '*.cu' -o -name '*.cuh')
# Changes to these need a new install; changes to Python files do not, the install is editable.
BUILT_FROM := setup.py pyproject.toml MANIFEST.in server/ops/build_flags.py $(CXX_FILES) $(CUDA_FILES)
TYPED := server client proto

# Building the extension calls `ninja`, which is installed in the environment.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast sanitize fuzz lint style imports types typing cuda-check format hooks proto lock audit bench-ops clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.installed ## Install, start a server, write speech to demo/*.wav and draw a timeline of it
	@$(BIN)/python -m intone.client.tools.demo

# One OpenMP thread: with two, beside another busy process, the same work takes ten times as long.
# JOBS=2 runs the files in two processes; some tests bound the time that a server takes, so the default is one.
test: lint build/oracle-indextts/.installed ## Install, run all of `lint` and every test (half an hour on two cores)
	@echo "== tests"
	@OMP_NUM_THREADS=1 $(BIN)/pytest --durations 30 --durations-min 5 $(if $(JOBS),-n $(JOBS) --dist loadfile)

# Logic, native operations, and conversations on virtual time: no whole model, no oracle. A minute of CPU time.
FAST := app audio cli client conversation emotion native nn routing runtime text voices
test-fast: $(VENV)/.installed-for-tests ## Run the quick tests: logic, operations, conversations (under a minute)
	@OMP_NUM_THREADS=1 $(BIN)/pytest -q -n $(or $(JOBS),2) --dist loadfile -m "not slow" $(FAST:%=tests/%)

# Not part of `test`: two more builds of the extension, and many slow calls of it. CONTRIBUTING.md has the last result.
sanitize: $(VENV)/.installed-for-tests ## Check the extension with AddressSanitizer, UBSan and ThreadSanitizer (an hour or two)
	@$(BIN)/python -m tests.native.sanitize.run

# Not part of `test`: most of an hour of processor time. Another SEED tries other inputs.
fuzz: $(VENV)/.installed-for-tests ## Fuzz all that reads input: 1,100,000 inputs for text, messages, sound, files, native calls
	@OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz.py --cases $(or $(CASES),100000) --seed $(or $(SEED),0) \
	  --jobs $(or $(JOBS),$(shell nproc))

lint: style imports types cuda-check ## Check style, formatting, imports and types without changing files

style: $(VENV)/.installed-for-tests
	@echo "== ruff, clang-format"
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/clang-format --dry-run -Werror $(CXX_FILES) $(CUDA_FILES)

# Which package may import which: the contracts under [tool.importlinter] in pyproject.toml.
imports: $(VENV)/.installed-for-tests typing
	@echo "== import-linter"
	@PYTHONPATH=build/typing $(BIN)/lint-imports --no-logo

# A benchmark seldom runs: that it calls what is there, with arguments that exist, is checked here.
LOOSE_TYPES := --ignore-missing-imports $(addprefix --disable-error-code=,arg-type dict-item misc no-any-return \
	no-untyped-call return-value type-arg unused-ignore var-annotated)

types: $(VENV)/.installed-for-tests typing
	@echo "== mypy"
	@MYPYPATH=build/typing $(BIN)/mypy -p intone.server -p intone.client -p training -m intone.proto.generate
	@MYPYPATH=build/typing $(BIN)/mypy examples/*.py
	@MYPYPATH=build/typing:tests/bench $(BIN)/mypy $(LOOSE_TYPES) tests/bench/*.py

# mypy and import-linter cannot follow the editable install, which is an import hook. They read these links instead.
typing:
	@mkdir -p build/typing/intone
	@for folder in $(TYPED); do ln -sfn ../../../$$folder build/typing/intone/$$folder; done
	@ln -sfn ../../../proto/intone/v1 build/typing/intone/v1

# Compiles the CUDA files for several generations of GPUs where there is an nvcc, after a change, and discards the result.
# Needs no GPU and no CUDA build of torch.
CUDA_CHECKS := $(patsubst csrc/cuda/%.cu,build/cuda-check/%.ok,$(filter %.cu,$(CUDA_FILES)))
GENERATIONS := $(foreach sm,80 89 90 100,-gencode arch=compute_$(sm),code=sm_$(sm))
cuda-check: $(if $(shell command -v nvcc),$(CUDA_CHECKS))

build/cuda-check/%.ok: csrc/cuda/%.cu $(filter %.cuh,$(CUDA_FILES)) csrc/anti_alias.h | $(VENV)/.installed-for-tests
	@echo "== nvcc $<"
	@mkdir -p $(@D)
	@nvcc -std=c++17 --threads 0 $(GENERATIONS) -DUSE_CUDA -DTORCH_TARGET_VERSION=0x020b000000000000 -Icsrc \
	  $$($(BIN)/python -c 'from torch.utils.cpp_extension import include_paths; print(*("-I" + p for p in include_paths()))') \
	  -c $< -o /dev/null
	@touch $@

format: $(VENV)/.installed-for-tests ## Format Python and C++, and apply ruff's automatic fixes
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format
	@$(BIN)/clang-format -i $(CXX_FILES) $(CUDA_FILES)

hooks: $(VENV)/.installed-for-tests ## Run the checks of `lint` before every commit (git hooks by pre-commit)
	@$(BIN)/pre-commit install

proto: $(VENV)/.installed-for-tests ## Regenerate the stubs beside the .proto files
	@$(BIN)/python -m intone.proto.generate

# One version and the hashes of every package, for each Python and platform, so that what CI tests and images hold can be
# built again. torch is left out, with the CUDA libraries that it alone brings: its builds differ by machine.
LOCKED := requirements/server.txt requirements/test.txt
TORCH_BRINGS := torch triton cuda-bindings cuda-pathfinder cuda-toolkit $(addprefix nvidia-,cublas cuda-cupti cuda-nvrtc \
  cuda-runtime cudnn-cu13 cufft cufile curand cusolver cusparse cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx)
UV := build/uv/bin/uv
requirements/server.txt: LOCKED_EXTRAS := server starter mandarin otel
requirements/test.txt: LOCKED_EXTRAS := server starter mandarin otel play plot test
lock: $(UV) ## Choose the newest versions of all packages again and write them to requirements/
	@rm -f $(LOCKED)
	@$(MAKE) --no-print-directory $(LOCKED)

$(LOCKED):
	@$(UV) pip compile -q setup.py $(LOCKED_EXTRAS:%=--extra %) --universal --python-version 3.10 --generate-hashes \
	  --python $(BIN)/python --no-build-isolation $(TORCH_BRINGS:%=--no-emit-package %) --no-annotate \
	  --custom-compile-command 'make lock' --output-file $@

audit: $(UV) ## Look up known vulnerabilities of the locked packages (asks the database of PyPI: needs a network)
	@build/uv/bin/pip-audit --require-hashes --disable-pip $(LOCKED:%=-r %)

$(UV):
	@$(PYTHON) -m venv build/uv
	@build/uv/bin/python -m pip install -qq uv pip-audit

bench-ops: $(VENV)/.installed-for-tests ## Time the native operations and compare them with their references
	@$(BIN)/python tests/bench/ops.py

# The recipe of the nano voice, stage by stage: `make train-corpus`, `make train-lm TRAIN='--minutes 60'`; training/README.md.
TRAIN ?=
TRAIN_STAGES := corpus teacher latents begin vae lm distil export say slim copies measure

# Batches of varying sizes fragment glibc's heap: a step of `lm` takes 1.3 s with it and 0.74 s with tcmalloc. `vae` takes as
# long with either, and openvino, which the Mandarin teacher uses, crashes under tcmalloc.
train-lm: TRAIN_MALLOC := $(addprefix LD_PRELOAD=,$(firstword $(wildcard /usr/lib/*/libtcmalloc_minimal.so.4)))
.PHONY: $(TRAIN_STAGES:%=train-%) train-judges
$(TRAIN_STAGES:%=train-%): train-%: $(VENV)/.installed-for-training
	@$(TRAIN_MALLOC) ONEDNN_PRIMITIVE_CACHE_CAPACITY=16384 OMP_NUM_THREADS=1 \
	  nice -n 10 $(BIN)/python -m training $* $(TRAIN)

# A separate environment, because they need other versions of common packages.
train-judges: ## Install the speech recognizers and raters of `train-measure` in build/judges (2 GB)
	@$(PYTHON) -m venv build/judges
	@build/judges/bin/python -m pip install -qq '$(TORCH)' $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	@build/judges/bin/python -m pip install -qq hama==1.7.0 ctranslate2==4.8.5 faster-whisper==1.2.1 \
	  onnxruntime requests soundfile soxr librosa webrtcvad-wheels opencc-python-reimplemented==0.1.7 pypinyin
	@build/judges/bin/python -m pip install -qq --no-deps -r training/judges.txt

clean: ## Remove build outputs and caches, but not .venv
	@rm -rf build dist demo *.egg-info server/ops/_C*.so .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@rm -f $(VENV)/.installed $(VENV)/.installed-for-tests $(VENV)/.installed-for-training
	@find $(TYPED) training tests -name __pycache__ -type d -prune -exec rm -rf {} +

# torch is installed first: the extension is compiled against the installed torch (see setup.py).
$(VENV)/.ready:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' || { echo >&2 \
	  "intone needs Python 3.10 to 3.12 here: on 3.13, what reads Mandarin does not install. $(PYTHON) is" \
	  "$$($(PYTHON) --version 2>&1). Set another: make PYTHON=python3.12"; exit 1; }
	@command -v c++ >/dev/null || { echo >&2 "intone needs a C++ compiler (c++), for example: apt-get install g++"; exit 1; }
	@echo "== [1/3] creating a Python environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "== [2/3] installing $(TORCH) (200 MB without CUDA, several GB with it; takes minutes, once)"
	@$(PIP) 'setuptools>=77' wheel ninja
	@$(PIP) '$(TORCH)' $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	@touch $@

$(VENV)/.installed: $(VENV)/.ready $(BUILT_FROM)
	@echo "== [3/3] installing intone and its dependencies, compiling the C++ extension (a minute or two)"
	@$(PIP) --no-build-isolation -e '.[server,starter,mandarin,plot]'
	@touch $@

$(VENV)/.installed-for-tests: $(VENV)/.ready $(BUILT_FROM) requirements/test.txt tests/oracles/voxcpm.txt
	@echo "== [3/3] installing intone, its dependencies and the test tools, compiling the C++ extension (minutes)"
	@$(PIP) --require-hashes -r requirements/test.txt
	@$(PIP) --no-build-isolation --no-deps -e .
	@$(PIP) --no-deps -r tests/oracles/voxcpm.txt
	@touch $(VENV)/.installed $@

$(VENV)/.installed-for-training: $(VENV)/.ready $(BUILT_FROM)
	@$(PIP) --no-build-isolation -e '.[server,starter,mandarin,plot,training]'
	@$(PIP) --no-deps -r training/mandarin.txt
	@touch $@

# The official IndexTTS package and the old versions of common packages that it needs, in a folder that only the tests of
# IndexTTS use. If they cannot be installed, those tests are skipped with a message.
build/oracle-indextts/.installed: tests/oracles/indextts.txt $(VENV)/.ready
	@echo "== installing the official IndexTTS package for the tests in build/oracle-indextts"
	@rm -rf $(@D)
	@if $(PIP) --no-deps --target $(@D) -r $<; then touch $@; else echo "== it cannot be installed on this machine"; fi

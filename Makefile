# Two commands: `make repro` runs the pipeline, `make test` the tests. Both set up .venv first.

PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro test test-docs test-demo full pull wheel release deps docs demo lint proof fuzz setup clean

repro: setup  ## the stages on the simulated source, and the model card; FAST=1: this processor's fastest kernels
	@$(if $(FAST),python -m spiro_diffusion.pipeline.fast,python -m spiro_diffusion.pipeline.run_dvc repro)
	@spiro card --force
	@$(if $(FAST),,git diff --quiet HEAD -- dvc.lock ||) spiro verify --tolerance || true  # other bytes: the same figures?
	@printf '%s\n' '' \
	  'Look:   metrics/evaluate/report.html (the whole story) and metrics/reconstruct/report.html, in a browser' \
	  'Draw:   . .venv/bin/activate && spiro generate --age 45 --height 175 --sex male -n 20 --out curves.csv'
	@git diff --quiet HEAD -- params.yaml dvc.lock metrics 2> /dev/null && echo 'Share:  dvc push' || \
	  echo 'Share:  git add params.yaml dvc.lock metrics && git commit -m "Run the pipeline" && dvc push'

test: setup lint  ## ruff, mypy and the tests
	OMP_NUM_THREADS=1 pytest -n 2 --dist loadfile --no-loadscope-reorder  # one thread each: two wait for each other

test-docs: setup  ## the commands of the documentation, on the models of `make repro`: a minute
	OMP_NUM_THREADS=1 pytest -m docs tests/test_commands.py

lint: setup  ## ruff and mypy
	ruff check . && ruff format --check . && mypy

proof: setup  ## the tiny pipeline under two imitated processors: the same bytes of all outputs
	SPIRO_PROOF=1 pytest -q tests/test_portable.py

fuzz: setup  ## 5,000 edited files for every reader, and 5,000 records of manoeuvres
	OMP_NUM_THREADS=1 python benchmarks/fuzz_readers.py
	OMP_NUM_THREADS=1 python benchmarks/fuzz_manoeuvres.py

full: setup  ## the full-size preset as an experiment: make full SOURCE=path/to/nhanes
	@python -m spiro_diffusion.pipeline.run_dvc exp run $(foreach s,$(shell $(or $(wildcard $(BIN)/python),$(PYTHON)) -m spiro_diffusion.pipeline.run --preset presets/full.yaml --print),-S "$(s)") -S download.source=$(or $(SOURCE),nhanes)

pull: setup  ## the models, from the remote that .dvc/config names
	python -m spiro_diffusion.pipeline.run_dvc pull train_vqvae train_cldm train_reconstructor

wheel: setup  ## dist/*.whl with the model of `make repro`, to draw from at once
	python -m spiro_diffusion.engines.package
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) python -m pip wheel --quiet --no-deps --wheel-dir dist .

release: setup  ## dist/vVERSION: wheel, sdist, SBOM, notes and checksums, from a clean tree with the tag; uploads nothing
	python .ci/release.py

deps: setup  ## the code that each stage depends on, into dvc.yaml and baselines/dvc.yaml
	python -m spiro_diffusion.pipeline.dependencies

docs: setup  ## the site of docs/ in site/, without a network
	python docs/rooms.py
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict  # its theme would else advertise its successor

demo: setup  ## the site with a page that draws in the reader's browser, by the model of `make repro`; needs npm
	spiro export --out onnx --force
	python docs/demo/vendor.py --model onnx
	$(MAKE) docs test-demo

test-demo: setup  ## the stories of that page, in Chromium with a tiny model; needs npm and Chromium, no model of yours
	python docs/demo/vendor.py
	SPIRO_REQUIRE_ALL=1 pytest -q tests/test_demo.py

setup: .venv/ready

.venv/ready: requirements.lock requirements-torch.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv .venv
	python -m pip install --quiet --upgrade pip
	python -m pip install --quiet --require-hashes --requirement requirements.lock
	python -m pip install --quiet --requirement requirements-torch.lock
	python -m pip install --quiet --no-deps --editable .
	touch $@

clean:
	rm -rf .venv .scratch site dist build spiro_diffusion/model

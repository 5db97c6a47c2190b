# Every target sets up what it needs. `make` alone prints this help.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
# One thread per process: tests and regions run side by side, and threads that wait for each other cost more than they gain.
export OMP_NUM_THREADS ?= 1
# Without compiled modules every process that a test starts would compile all of them again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help:  ## Print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("raie needs Python 3.11 or newer, found " + sys.version.split()[0] + "; name one: make PYTHON=python3.11") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev,docs]'
	@touch $@

.PHONY: setup
setup: $(STAMP)  ## Make .venv and install everything

.PHONY: demo
demo: $(STAMP)  ## From a log to a rollback in ./demo; RATINGS=path takes your own log
	$(BIN)/raie demo $(RATINGS)

.PHONY: test
test: lint types layers $(STAMP)  ## Lint, check types, run the tests
	$(BIN)/pytest -n $(or $(WORKERS),2) --dist worksteal

.PHONY: slow
slow: $(STAMP)  ## The tests that take minutes
	$(BIN)/pytest -m slow

.PHONY: faults
faults: $(STAMP)  ## Break the network and the disk in every way; a table of what came of it
	$(BIN)/pytest -s tests/outages

.PHONY: bench
bench: $(STAMP)  ## Timings, as ratios measured in one run
	$(BIN)/pytest -m benchmark -s

.PHONY: crash
crash: $(STAMP)  ## Kill and pause processes at random: N=10000 DATABASE=postgresql STORE=s3 SEED=1
	$(BIN)/python -m tests.registry.crash -n $(or $(N),1000) --database $(or $(DATABASE),sqlite) \
		--store $(or $(STORE),folder) $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY))

.PHONY: sharing
sharing: $(STAMP)  ## Two registries in one store, killed side by side: N=200 DATABASE=postgresql STORE=s3
	$(BIN)/python -m tests.registry.crash.sharing -n $(or $(N),200) --database $(or $(DATABASE),sqlite) \
		--store $(or $(STORE),folder) $(if $(SEED),--seed $(SEED))

.PHONY: mutants
mutants: $(STAMP)  ## Break the code in known ways and show which test finds each
	$(BIN)/python -m tests.mutants $(if $(ONLY),--only "$(ONLY)")

.PHONY: accuracy
accuracy: $(STAMP)  ## Leave-one-out accuracy, hours: RATINGS=path KIND=sasrec; again, it goes on
	$(BIN)/python -m tests.benchmarks.leave_one_out $(RATINGS) --kind $(or $(KIND),sasrec)

.PHONY: scale
scale: $(STAMP)  ## A registry of 1,000,000 adapter versions on both databases; SCALE_MODELS=10 fills a tenth
	$(BIN)/pytest -m scale -s tests/benchmarks

.PHONY: lint
lint: $(STAMP)  ## Check style and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

# What is installed as one package lies in several folders: mypy and import-linter read it through links.
TYPED := typed/raie
.PHONY: links
links:
	@rm -rf $(TYPED) && mkdir -p $(TYPED)
	@ln -s ../../registry ../../migrations ../../cli $(TYPED)/ && ln -s ../../raie_engine $(TYPED)/engine
	@cd $(TYPED) && ln -s ../../raie/* .

.PHONY: types
types: $(STAMP) links  ## Check types
	$(BIN)/mypy

.PHONY: layers
layers: $(STAMP) links  ## Check who may import whom
	@cd typed && ../$(BIN)/lint-imports --no-cache --no-logo ../pyproject.toml

.PHONY: structure
structure: $(STAMP) links  ## Sizes of folders, files and functions, and what imports what
	$(BIN)/python -m tests.structure

.PHONY: format
format: $(STAMP)  ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: docs
docs: $(STAMP)  ## Write docs/cli.md and docs/database.md, build the site into site/
	$(BIN)/python -m raie.cli.reference
	$(BIN)/python docs/database_picture.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

.PHONY: clean
clean:  ## Remove .venv and caches
	rm -rf .venv typed site .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info

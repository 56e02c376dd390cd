# Confidence cascades from precomputed logits. `make` alone lists the targets.
# Variables choose what runs: make threshold DATASET=cifar10 DATA=images M1=resnet20 M2=resnet56

PYTHON ?= python3
VENV ?= .venv
DATASET ?= digits
DATA ?=
WEIGHTS ?=
SPLIT ?=
MODELS ?= all-available
SCORE ?= maxp
CACHE ?= artifacts
OUT ?= report.html
POLICY ?= policy
PAPER ?= kinnas2024
OUTPUTS ?=
COST ?=
IMAGES ?=
LIMIT ?= 25
ARGS ?=
ifeq ($(DATASET),digits)
M1 ?= digits_separable
M2 ?= digits_residual
endif

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CASCADE := $(BIN)/cascade

flag = $(if $(2),$(1) '$(2)')
COMMON := --cache '$(CACHE)' --dataset $(DATASET)
FROM := $(call flag,--data,$(DATA)) $(call flag,--weights,$(WEIGHTS))
PAIR := $(call flag,-m1,$(M1)) $(call flag,-m2,$(M2))
PRICE := $(call flag,--cost,$(COST))
MEMORIES := dhash,invariants
PUBLISHED := $(filter-out digits,$(DATASET))

.DEFAULT_GOAL := help
.PHONY: help install extract import profile import-costs score threshold search certify rules \
	calibrate heterogeneity simulate compare hash live export check report reproduce study cache doctor config models datasets test lint docs bench bench-gpu imagenet clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Create .venv and install everything

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[extract,test]'
	@touch $@

extract: $(STAMP) ## Run every model once over every image; fill the cache
	$(CASCADE) extract $(COMMON) $(FROM) $(call flag,--split,$(SPLIT)) --models $(MODELS) $(ARGS)

score: $(STAMP) ## Turn logits into scores
	$(CASCADE) score $(COMMON) $(FROM) $(ARGS)

threshold: $(STAMP) ## Fit λ for the pair M1, M2
	$(CASCADE) threshold $(COMMON) $(FROM) $(PAIR) $(PRICE) $(ARGS)

search: $(STAMP) ## Find the cascade to deploy: ARGS='--min-accuracy 0.98'
	$(CASCADE) search $(COMMON) $(FROM) $(PRICE) $(ARGS)

certify: $(STAMP) ## Certify a cascade from few labels: SPLIT=test ARGS='0.02,0.1' makes a plan
	$(CASCADE) certify --cache '$(CACHE)' $(if $(SPLIT),--dataset $(DATASET) --unlabelled '$(SPLIT)') $(ARGS)

rules: $(STAMP) ## Compare deferral rules on the pair M1, M2: ARGS='--third C'
	$(CASCADE) rules $(COMMON) $(FROM) $(PAIR) $(PRICE) $(ARGS)

calibrate: $(STAMP) ## Fit each model's temperature; tell how sure it is before and after
	$(CASCADE) calibrate $(COMMON) $(FROM) $(ARGS)

heterogeneity: $(STAMP) ## Show which models cover whose mistakes
	$(CASCADE) heterogeneity $(COMMON) $(FROM) $(ARGS)

simulate: $(STAMP) ## Simulate the cascade M1, M2 at its fitted λ
	$(CASCADE) simulate $(COMMON) $(FROM) $(PAIR) --scorefn $(SCORE) $(PRICE) $(ARGS)

live: $(STAMP) ## Run the cascade M1, M2 for real and compare
	$(CASCADE) live $(COMMON) $(FROM) $(PAIR) --scorefn $(SCORE) $(ARGS)

export: $(STAMP) ## Write the cascade M1, M2 to the folder POLICY, to deploy it
	$(CASCADE) export $(COMMON) $(FROM) $(PAIR) --scorefn $(SCORE) --policy '$(POLICY)' $(PRICE) $(ARGS)

check: $(STAMP) ## Fail where the cascade in POLICY is worse than it promised
	$(CASCADE) check '$(POLICY)' --cache '$(CACHE)' $(FROM) $(ARGS)

report: $(STAMP) ## Write the page OUT (report.html)
	$(CASCADE) report $(COMMON) $(FROM) --output '$(OUT)' $(PRICE) $(ARGS)

reproduce: $(STAMP) ## Put the published figures of PAPER beside ours: DATASET=cifar10 DATA=images
	$(if $(DATA),$(if $(PUBLISHED),,$(error DATA holds one dataset's images: give DATASET)))
	$(if $(DATA),$(CASCADE) extract $(COMMON) $(FROM) $(call flag,--split,$(SPLIT)) --models $(MODELS))
	$(if $(DATA),$(CASCADE) hash $(COMMON) --data '$(DATA)' $(call flag,--split,$(SPLIT)) --algorithms $(MEMORIES))
	$(BIN)/python -m examples.$(PAPER) --cache '$(CACHE)' $(call flag,--dataset,$(PUBLISHED)) $(ARGS)

study: $(STAMP) ## Make docs/results-imagenet.md and docs/results-unequal-costs.md from the tables in the folder OUTPUTS
	$(BIN)/python -m examples.study '$(or $(OUTPUTS),$(error give OUTPUTS=FOLDER))' $(ARGS)

import: $(STAMP) ## Bring in logits: ARGS='--dataset D --split S --model M --logits FILE …'
	$(CASCADE) import --cache '$(CACHE)' $(ARGS)

profile: $(STAMP) ## Measure latency and joules of each model
	$(CASCADE) profile $(COMMON) $(FROM) --models $(MODELS) $(ARGS)

import-costs: $(STAMP) ## Bring in costs measured elsewhere: ARGS=FILE.csv
	$(CASCADE) import-costs --cache '$(CACHE)' $(ARGS)

compare: $(STAMP) ## Compare the best cascades of devices: ARGS='--cost-device A,B'
	$(CASCADE) search $(COMMON) $(PRICE) --cost-device all $(ARGS)

hash: $(STAMP) ## Hash every image, for the memory
	$(CASCADE) hash $(COMMON) $(call flag,--data,$(DATA)) $(call flag,--split,$(SPLIT)) $(ARGS)

cache: $(STAMP) ## Look after the cache: ARGS=ls, verify, 'rm …', gc, 'merge SOURCE'
	$(CASCADE) cache $(or $(ARGS),ls) --cache '$(CACHE)'

doctor: $(STAMP) ## Say which sensors answer, and what mends the rest
	$(CASCADE) doctor $(ARGS)

config: $(STAMP) ## Show the defaults in force, and where they stand
	$(CASCADE) config $(ARGS)

models: $(STAMP) ## List the models
	$(CASCADE) models --cache '$(CACHE)' $(ARGS)

datasets: $(STAMP) ## List the datasets
	$(CASCADE) datasets --cache '$(CACHE)' $(call flag,--data,$(DATA)) $(ARGS)

# A file's tests share fixtures, so they stay together; threads beside processes only get in the way.
test: $(STAMP) ## Run the whole test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(STAMP) ## Check style, format, types, and how the tree is built
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tools.measure_tree

docs: $(STAMP) ## Write docs/commands.md from the commands' help
	$(BIN)/python -m tools.command_docs

bench: $(STAMP) ## Print every benchmark's ratios
	$(BIN)/python -m benchmarks.sweep
	$(BIN)/python -m benchmarks.search
	$(BIN)/python -m benchmarks.import
	$(BIN)/python -m benchmarks.score
	$(BIN)/python -m benchmarks.extract
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.page
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.hashing
	$(BIN)/python -m benchmarks.against_original
	$(BIN)/python -m benchmarks.engines
	$(BIN)/python -m benchmarks.one_file
	$(BIN)/python -m benchmarks.decision_log

imagenet: $(STAMP) ## Run ImageNet's 40 models on LIMIT of your IMAGES with seeded weights
	$(BIN)/python -m tools.imagenet_seeded '$(or $(IMAGES),$(error give IMAGES=FOLDER))' --limit $(LIMIT) $(ARGS)

bench-gpu: ## Measure predictions on the GPU that is there; installs nothing
	$(or $(wildcard $(BIN)/python),$(PYTHON)) -m benchmarks.gpu $(ARGS)

clean: ## Remove the cache; keeps .venv
	rm -rf '$(CACHE)'

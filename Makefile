# `make` alone lists what there is. Everything sets itself up: a Python, make and a package index
# are all it takes.
.DEFAULT_GOAL := help
.ONESHELL:
.SHELLFLAGS := -ec
SHELL := bash
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
BIN := .venv/bin
SAM := .venv-sam/bin/sam
DEPLOY := PYTHONPATH=layers/shared:functions/smoke:functions/authorizer SAM=$(SAM) $(BIN)/python -m deploy
export SAM_CLI_TELEMETRY := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Values reach the commands in the environment, as they were given: make would expand a `$` in them,
# and in a recipe the shell would run what stands between backticks.
ON_COMMAND_LINE := $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
VALUES := CONFIRM DATABASE_URL ENV FUNCTION IDS JWT_ISSUERS JWT_SECRET OWNER_DATABASE_URL REPOSITORY ROTATE TABLE TOKEN UNDO URL YES ZONE
$(foreach name,$(filter $(VALUES),$(ON_COMMAND_LINE)),$(eval override export $(name) := $$(value $(name))))

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

# --- set-up --------------------------------------------------------------------------------------

# Of two that start at once in a fresh clone, the second waits for the first.
LOCK := $(shell command -v flock >/dev/null && echo "mkdir -p .local && exec 9>.local/set-up.lock && flock 9")

.venv/ready: requirements/uv.txt requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
	  echo "Python 3.11 or newer is needed: install it, or name one with PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || {
	  echo "Python's venv module is missing: install it (on Debian and Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	[ -w . ] || { echo "The tools go into this folder, and it cannot be written to" >&2; exit 1; }
	$(LOCK)
	[ ! "$@" -nt requirements/uv.txt ] || [ ! "$@" -nt requirements/dev.txt ] || exit 0
	echo "Installing the tools into .venv (once) ..." >&2
	rm -rf .venv && mkdir .venv
	pip_config() (umask 077 && $(BIN)/python -m pip config list >.venv/pip.config 2>/dev/null || true)
	install() {
	  $(PYTHON) -m venv .venv && pip_config &&
	    $(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt &&
	    requirements/uv pip sync --quiet --require-hashes --python $(BIN)/python requirements/dev.txt
	}
	$(call logged,The tools)
	touch $@

define logged # NAME: run `install`, and say why it fails
	trap 'exit 130' INT
	install >.venv/log 2>&1 || {
	  reason="is the package index reachable?"
	  [ -s .venv/log ] && ! grep -qi "no space left" .venv/log || reason="the disk is full"
	  echo "$(1) could not be installed ($$reason); .venv/log says more" >&2; exit 1; }
endef

.venv-sam/ready: .venv/ready requirements/sam.txt
	@$(call tool,.venv-sam,SAM CLI,sam)

.venv-bench/ready: .venv/ready requirements/bench.txt
	@$(call tool,.venv-bench,matplotlib,bench)

.venv-clients/ready: .venv/ready requirements/clients.txt
	@$(call tool,.venv-clients,The generator of Python clients,clients)

.venv-policy/ready: .venv/ready requirements/policy.txt
	@$(call tool,.venv-policy,The policy checkers,policy)

define tool # FOLDER, NAME, REQUIREMENTS: a virtual environment of its own
	$(LOCK)
	[ ! "$@" -nt .venv/ready ] || [ ! "$@" -nt requirements/$(3).txt ] || exit 0
	echo "Installing into $(1) (once): $(2) ..." >&2
	rm -rf $(1)
	install() {
	  requirements/uv venv --quiet --python $(BIN)/python $(1) &&
	    requirements/uv pip sync --quiet --require-hashes --python $(1)/bin/python requirements/$(3).txt
	}
	$(call logged,$(2))
	touch $(1)/ready
endef

# Byte code for Lambda is written by its own Python; where none is here, uv fetches one into .local.
.PHONY: runtime-python
runtime-python: .venv/ready
	@layers/find-python 3.13 fetch >/dev/null

# Only names that exist may stand on make's command line; GIVEN has them.
LOCAL := GIVEN='$(strip $(ON_COMMAND_LINE))' $(BIN)/python -m local

# --- every day -----------------------------------------------------------------------------------

.PHONY: run
run: .venv/ready ## serve the API on this machine, with an embedded Postgres (PORT, DATABASE_URL, any parameter as JWT_SECRET)
	@exec env $(LOCAL) run

.PHONY: token
token: .venv/ready ## print a token for a user: make token USER=alice
	@$(LOCAL) token "$(if $(findstring command line,$(origin USER)),$$USER)"

.PHONY: logs
logs: .venv/ready ## follow what the functions of `make run` write
	@exec env $(LOCAL) logs

.PHONY: psql
psql: .venv/ready ## open psql on the embedded database, whether `make run` is up or not
	@exec env $(LOCAL) psql

.PHONY: reset
reset: .venv/ready ## delete the embedded database; asks first (YES=1)
	@exec env $(LOCAL) reset

.PHONY: invoke
invoke: .venv/ready ## run one function once: make invoke F=CreateTask [E=events/create_task.json]
	@$(LOCAL) invoke "$$F" $${E:+"$$E"}

.PHONY: events
events: .venv/ready ## play every event of events/ to its function, and print a table
	@$(LOCAL) events

.PHONY: doctor
doctor: .venv/ready ## say what is wrong with a database, an issuer, a TOKEN, origins, this shell, an environment (ENV=dev)
	@export ENV="$(if $(filter-out file,$(origin ENV)),$$ENV)" GIVEN='$(strip $(ON_COMMAND_LINE))'
	PYTHONPATH=layers/shared:functions/migrate:functions/authorizer $(BIN)/python -m local.doctor

.PHONY: migrate
migrate: .venv/ready ## bring a database's schema up to date; asks for the owner's connection string
	@PYTHONPATH=layers/shared:functions/migrate $(BIN)/python -m deploy.migrate

.PHONY: adopt
adopt: .venv/ready ## move a FastAPI + SQLModel task database in; asks for its connection string (TABLE=..., IDS=new, ZONE=..., YES=1)
	@PYTHONPATH=layers/shared:functions/migrate $(BIN)/python -m deploy.adopt

# A file's tests share servers, so they stay together; the files keep their order.
PARALLEL := --dist loadfile --no-loadscope-reorder

.PHONY: test
test: .venv/ready .venv-sam/ready ## what a change of behaviour can break, on all cores (REQUIRE_ALL=1 allows no skips)
	@$(BIN)/python -m pytest $(PARALLEL) -n auto -m "not campaign"

.PHONY: campaigns
campaigns: .venv/ready .venv-sam/ready
	@layers/find-python 3.13 fetch >/dev/null 2>&1 || true
	$(BIN)/python -m pytest $(PARALLEL) -n 2 -v -m campaign

.PHONY: test-all
test-all: ## `make test`, then the campaigns: containers, builds, walks, faults, thousands of requests (REQUIRE_ALL=1)
	@$(MAKE) test
	$(MAKE) campaigns

.PHONY: clients
clients: .venv/ready ## generate a Python and a TypeScript client into .clients, and run a session with each
	@$(BIN)/python -m pytest -v tests/clients

.PHONY: chaos
chaos: .venv/ready ## 100 clients while backends, pooler and Postgres fail under them (SECONDS=180)
	@PGBOUNCER=$$(.ci/pgbouncer)
	export PGBOUNCER PYTHONPATH=layers/shared
	$(BIN)/python -m tests.chaos.run $(or $(SECONDS),180)

.PHONY: faults
faults: .venv/ready ## writes through a proxy that cuts, past servers that fail; a table of what became of each (SECONDS=120)
	@PGBOUNCER=$$(.ci/pgbouncer)
	export PGBOUNCER PYTHONPATH=layers/shared
	$(BIN)/python -m tests.faults.run $(or $(SECONDS),120)

.PHONY: flood
flood: .venv/ready ## honest clients beside a flood of junk tokens: none fails, their p99 stays within twice (ROUNDS=6)
	@PYTHONPATH=layers/shared $(BIN)/python -m tests.flood.run $(or $(ROUNDS),6)

.PHONY: bench
bench: .venv/ready .venv-sam/ready .venv-bench/ready ## ours beside other stacks as Lambda runs them; writes docs/bench (QUICK=1, ARGS="--only headline")
	@PGBOUNCER=$$(.ci/pgbouncer) || true
	export PGBOUNCER PYTHONPATH=layers/shared
	$(BIN)/python -m bench $(if $(QUICK),--quick) $(ARGS)

.PHONY: lint
lint: .venv/ready ## style, types, and whether the specification is what is served
	@$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy layers/shared local deploy bench tests
	for folder in functions/*/; do  # each is a top level of its own, as in Lambda
	  (cd "$$folder" && ../../$(BIN)/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache .)
	done
	$(BIN)/python -m local.specification --check

.PHONY: policy
policy: .venv-policy/ready ## check template.yaml and the workflows against good practice
	@.venv-policy/bin/checkov --config-file .checkov.yaml
	.venv-policy/bin/zizmor --quiet --offline .github/workflows

# --- building ------------------------------------------------------------------------------------

.PHONY: build
build: runtime-python .venv-sam/ready ## build what is deployed, into .aws-sam
	@$(SAM) build

.PHONY: sam-local
sam-local: .venv/ready .venv-sam/ready ## serve the API by `sam local start-api`, in containers (PORT, DATABASE_URL, JWT_SECRET ...)
	@exec env $(LOCAL) sam-local

.PHONY: sam-invoke
sam-invoke: .venv/ready .venv-sam/ready ## run one function once by `sam local invoke`: make sam-invoke F=CreateTask [E=events/...]
	@exec env $(LOCAL) sam-invoke "$$F" "$$E"

.PHONY: validate
validate: .venv-sam/ready ## check template.yaml
	@$(SAM) validate --lint

# --- in AWS, with the credentials of the AWS CLI or of the environment ---------------------------

ENV ?= dev
export ENV

# One region for boto3 and for SAM CLI, which do not read AWS_REGION: AWS_REGION comes first, then
# AWS_DEFAULT_REGION, then the profile's region.
ifneq ($(AWS_REGION)$(AWS_DEFAULT_REGION),)
override export AWS_REGION := $(or $(AWS_REGION),$(AWS_DEFAULT_REGION))
override export AWS_DEFAULT_REGION := $(AWS_REGION)
endif

# What stands on make's command line is in MAKEFLAGS, in every child's environment and in `ps`.
ifneq ($(filter adopt deploy destroy migrate pipeline secrets,$(MAKECMDGOALS)),)
ifneq ($(filter DATABASE_URL MIGRATION_URL JWT_SECRET,$(ON_COMMAND_LINE)),)
$(error A secret does not belong on the command line; leave it out, and the command asks for it)
endif
endif

.PHONY: deploy
deploy: $(if $(BUILT),,runtime-python) .venv-sam/ready ## build and deploy; the first time it asks for the database: make deploy ENV=dev
	@$(DEPLOY) deploy "$$ENV" $(if $(BUILT),--built) $${CONFIRM:+"$$CONFIRM"}

.PHONY: secrets
secrets: .venv/ready ## replace the connection strings; asks for the owner's and makes the API's: make secrets ENV=dev (ROTATE=jwt: the tokens' secret)
	@$(DEPLOY) secrets "$$ENV" $${ROTATE:+"--rotate=$$ROTATE"}

.PHONY: smoke
smoke: .venv/ready ## use an API once as a customer does: make smoke ENV=dev, or URL=http://127.0.0.1:8000
	@$(DEPLOY) smoke "$$ENV" $${URL:+"--url=$$URL"}

.PHONY: rollback
rollback: .venv/ready ## in an incident, serve the version before: make rollback ENV=prod (FUNCTION=ListTasks, UNDO=1)
	@$(DEPLOY) rollback "$$ENV" $${UNDO:+--undo} $${FUNCTION:+"--functions=$$FUNCTION"}

.PHONY: pipeline
pipeline: .venv/ready .venv-sam/ready ## let GitHub deploy an environment: make pipeline ENV=dev REPOSITORY=owner/name
	@$(DEPLOY) pipeline "$$ENV" "--repository=$$REPOSITORY"

.PHONY: destroy
destroy: .venv/ready .venv-sam/ready ## delete an environment but not its data, which is in Neon: make destroy ENV=dev
	@$(DEPLOY) destroy "$$ENV"

.PHONY: openapi
openapi: .venv/ready ## write functions/docs/openapi.json anew from the handlers
	@$(BIN)/python -m local.specification

.PHONY: swagger-ui
swagger-ui: ## take another version of Swagger UI for the page under /docs: make swagger-ui VERSION=5.35.0
	@[[ "$(VERSION)" =~ ^[0-9.]+$$ ]] || { echo "VERSION has to be set, as in VERSION=5.35.0" >&2; exit 1; }
	folder=$$(mktemp -d)
	trap 'rm -rf "$$folder"' EXIT
	(cd "$$folder" && npm pack --silent "swagger-ui-dist@$(VERSION)" >/dev/null && tar xzf ./*.tgz)
	cd functions/docs/assets
	for name in LICENSE NOTICE swagger-ui-bundle.js swagger-ui-bundle.js.LICENSE.txt swagger-ui.css; do
	  cp "$$folder/package/$$name" .
	  chmod 644 "$$name"
	done
	sha256sum LICENSE NOTICE swagger-ui* >SHA256SUMS
	sed -E 's/[0-9]+\.[0-9]+\.[0-9]+/$(VERSION)/' README.md >README && mv README README.md

.PHONY: lock
lock: .venv/ready ## resolve the dependencies anew (U="--upgrade" for newer versions)
	@cd requirements
	for name in uv layer authorizer runtime dev sam policy bench clients \
	    rival_fastapi_psycopg2 rival_powertools rival_floor; do
	  ../$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes $(U) \
	    --custom-compile-command "make lock" $$name.in --output-file $$name.txt
	done

.PHONY: clean
clean: ## remove what was built or installed; .local, with its database, stays
	@rm -rf .aws-sam .bench .venv .venv-sam .venv-bench .venv-policy .mypy_cache .pytest_cache .ruff_cache .hypothesis artifacts

# The commands of the project, for people and for CI alike. They need make and Python 3.13.

PACKAGES := requirements.txt requirements-dev.txt
UV_VERSION := 0.13.9

# The first interpreter that runs and is new enough, as its full path; empty where there is none.
# A name on the PATH may be a version manager's stub that only fails, so each one is tried.
# PYTHON=... on the command line names one instead.
find_python = $(shell for name in $(if $(PYTHON),"$(PYTHON)",python3.13 python3 python); do \
	"$$name" -c 'import sys; sys.version_info < (3, 13) and sys.exit(1); print(sys.executable)' \
	2>/dev/null && break; done)
too_old = Python 3.13 or newer is needed; $(or $(PYTHON),python3.13 or python3 on the PATH) is older \
	or does not run. Another one is named so: make PYTHON=/path/to/python3.13

.PHONY: help install run test e2e hunt check fmt bench evals shots faults upgrade cluster lock clean remake

help:  ## Show this list
	@sed -n 's/^\([a-z0-9]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

install: .venv/installed  ## Make .venv, or bring it up to date

# An environment whose interpreter is gone (an upgrade, a moved folder) is made anew.
ifeq ($(shell .venv/bin/python -c 'print(1)' 2>/dev/null),)
.venv/installed: remake
endif

# The stamp comes last: an install that was cut short leaves none and starts over.
.venv/installed: $(PACKAGES)
	@python="$(or $(find_python),$(error $(too_old)))"; \
	rm -rf .venv; \
	if uv --version >/dev/null 2>&1; then \
		echo "Making .venv with uv"; \
		UV_PYTHON_DOWNLOADS=never uv venv --quiet --python "$$python" .venv && \
		uv pip install --quiet --python .venv/bin/python --compile-bytecode --require-hashes \
			$(PACKAGES:%=-r %); \
	else \
		echo "Making .venv with pip; this takes a minute or two"; \
		"$$python" -m venv .venv && \
		.venv/bin/python -m pip install -qq --disable-pip-version-check --require-hashes \
			$(PACKAGES:%=-r %); \
	fi
	@touch $@

run: install  ## Start the service; with nothing configured, a demo of it
	@.venv/bin/python -m backend

# Bytecode is kept, also where the environment says not to: each worker would make it anew.
test: install  ## Run the tests; COVER=1 measures what they cover, as CI does
	PYTHONDONTWRITEBYTECODE= .venv/bin/python -m pytest $(if $(COVER),--cov)

# Not measured: the suite covers what is asked for by itself.
e2e: install  ## Play what takes browsers, clients, proxies and servers of others; two to three minutes
	PYTHONDONTWRITEBYTECODE= .venv/bin/python -m pytest -m "e2e and not hunt"

hunt: install  ## Play the whole of what the tests have in a short form; takes an hour and more
	.venv/bin/python -m pytest -m "hunt or hypothesis" --hypothesis-profile long

check: install  ## Lint, format and types
	.venv/bin/python -m ruff check
	.venv/bin/python -m ruff format --check
	.venv/bin/python -m mypy

fmt: install  ## Mend format and lint where that is mechanical
	.venv/bin/python -m ruff check --fix
	.venv/bin/python -m ruff format

bench: install  ## Measure turns a second; `make bench cluster`, `make bench big MESSAGES=...`, QUICK=1
	.venv/bin/python -m backend.bench $(sections) $(if $(QUICK),--quick) $(if $(MESSAGES),--messages $(MESSAGES))

evals: install  ## Measure how well the assistant does with the provider that is set; GROUP=... plays one group
	.venv/bin/python -m backend.evals $(if $(GROUP),--group "$(GROUP)")

shots: install  ## Take pictures of the page into .shots; KEEP=1 renews those of the README
	.venv/bin/python -m backend.tests.page.shots $(if $(KEEP),--keep)

faults: install  ## Break the service on purpose, 540 ways; SEED=n plays one again
	.venv/bin/python -m backend.faults $(if $(SEED),--seed $(SEED))
	$(if $(SEED),,.venv/bin/python -m backend.faults.outside)
	$(if $(SEED),,.venv/bin/python -m backend.faults --broken)

upgrade: install  ## Run the release before and this one on one database, with traffic; FROM=commit names another
	.venv/bin/python -m backend.faults.upgrade $(if $(FROM),--from "$(FROM)")

# What follows the word `bench` are its sections, and no targets.
ifeq ($(firstword $(MAKECMDGOALS)),bench)
sections := $(filter-out bench,$(MAKECMDGOALS))
.PHONY: $(sections)
$(sections): ; @:
else
cluster: install  ## Serve two replicas behind haproxy, with PgBouncer and Redis, as compose.yaml does
	@.venv/bin/python -m backend.tests.support.cluster
endif

# uv, in an environment of its own, resolves for every platform at once, not only for this one.
# A pin that still fits stays; with UPGRADE=1 the newest are taken. An extra's file holds what it
# needs besides requirements.txt, and the development group's what it needs besides all of them.
names_of_extras = import tomllib; \
	print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"])
packages_of_extra = import sys, tomllib; \
	project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	print(*project["optional-dependencies"][sys.argv[1]], sep="\n")

lock:  ## Pin the packages that pyproject.toml wants; UPGRADE=1 takes the newest
	@python="$(or $(find_python),$(error $(too_old)))"; \
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	"$$python" -m venv "$$folder" && \
	"$$folder/bin/python" -m pip install -qq --disable-pip-version-check uv==$(UV_VERSION) && \
	pin() { "$$folder/bin/uv" pip compile --quiet --universal --python-version 3.13 --no-header \
		--generate-hashes $(if $(UPGRADE),--upgrade) --output-file "$$@"; } && \
	pin requirements.txt pyproject.toml && pinned="-c requirements.txt" && \
	for extra in $$("$$python" -c '$(names_of_extras)'); do \
		"$$python" -c '$(packages_of_extra)' $$extra | pin requirements-$$extra.txt $$pinned - || \
			exit 1; \
		pinned="$$pinned -c requirements-$$extra.txt"; \
	done && \
	pin requirements-dev.txt $$pinned --group dev

clean:  ## Remove .venv and the caches, never .data
	rm -rf .venv .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find backend -name __pycache__ -type d -prune -exec rm -rf {} +

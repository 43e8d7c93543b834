# Each target sets up what it needs. Paths stay relative, so that a checkout may stand anywhere.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup run demo verify load-test test test-unit test-e2e check schema lock

help:
	@echo "make demo       bill simulated calls end to end, and check the ledger"
	@echo "make run        the whole stack until Ctrl-C (PORT=8000, VOXBILLING_DATA_DIR=.voxbilling)"
	@echo "make verify     prove a stack of its own to be whole"
	@echo "make load-test  many requests at once on a stack of its own (ARGS='--provisions 1000')"
	@echo "make test       the test suite (ARGS='-k name'); test-unit and test-e2e are its parts"
	@echo "make check      lint, formatting, types, import layers, migrations, API schema, deployment checks, vulnerable packages"
	@echo "make schema     record what the migrations make, after adding one"
	@echo "make lock       write the requirements files anew from pyproject.toml"

setup: $(VENV)/.installed

$(VENV)/.installed: requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "voxbilling needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ...")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is missing; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@echo "Installing the locked packages into $(VENV) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

run: setup
	@$(PY) -m voxbilling.stack run

demo: setup
	@$(PY) -m voxbilling.stack demo

# Each on a stack of its own, beside the one that may be running.
verify: setup
	@$(PY) -m voxbilling.stack verify

load-test: setup
	@$(PY) -m voxbilling.stack load-test $(ARGS)

# The tests that drive a whole stack have the machine to themselves: what they ask of it, such as
# answers within Vapi's limit, is not asked of a machine that is busy with other tests. Exit code 5
# is pytest's word for a part in which ARGS chose nothing.
UNIT := $(PY) -m pytest -n auto --dist loadfile -m "not e2e" $(ARGS)
E2E := $(PY) -m pytest -m e2e $(ARGS)

test: setup
	@$(UNIT) || [ $$? -eq 5 ]
	@$(E2E) || [ $$? -eq 5 ]

test-unit: setup
	@$(UNIT)

test-e2e: setup
	@$(E2E)

# What settings need in order to be imported by what reaches no server.
CHECK_ENV := DEBUG=1 SECRET_KEY=check DATABASE_URL=postgresql://check@127.0.0.1/check REDIS_URL=redis://127.0.0.1/0
# Django's dummy database: migrations are compared with the models alone.
NO_DATABASE := DATABASE_URL=django.db.backends.dummy://none
# A complete production environment, made up, for Django's deployment checks.
PRODUCTION_ENV := DEBUG=0 SECRET_KEY=made-up-5e0f7c1d94b83a26-only-for-checks-7d2c9a41f6be8035 \
	ALLOWED_HOSTS=billing.example.com DATABASE_URL=postgresql://check@127.0.0.1/check \
	REDIS_URL=redis://127.0.0.1/0 VAPI_API_KEY=made-up VAPI_WEBHOOK_SECRETS=made-up \
	TWILIO_ACCOUNT_SID=made-up TWILIO_AUTH_TOKEN=made-up STRIPE_SECRET_KEY=made-up \
	STRIPE_WEBHOOK_SECRET=made-up EMAIL_URL=smtp://127.0.0.1:9

check: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -c 'from importlinter.cli import lint_imports_command as lint; lint()'
	$(CHECK_ENV) $(PY) -m mypy .
	$(CHECK_ENV) $(NO_DATABASE) $(PY) manage.py makemigrations --check --dry-run
	$(CHECK_ENV) $(PY) manage.py spectacular --validate --fail-on-warn --file /dev/null
	$(PRODUCTION_ENV) $(PY) manage.py check --deploy --fail-level WARNING
	$(PY) .ci/audit.py

schema: setup
	@$(PY) manage.py record_schema

lock: setup
	$(PY) -m pip install --quiet --disable-pip-version-check uv
	$(PY) -m uv pip compile pyproject.toml $(COMPILE) -o requirements.txt
	$(PY) -m uv pip compile pyproject.toml --group development $(COMPILE) -o requirements-dev.txt
COMPILE := --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links

PYTHON ?= python3
VENV := .venv

.PHONY: demo test
demo: $(VENV)/installed
	$(VENV)/bin/python examples/demo.py -o demo_out

test: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/python -m pytest

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable .[test]
	touch $@

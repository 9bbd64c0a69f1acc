PYTHON ?= python3
VENV := .venv

.PHONY: demo test tour archive
demo: $(VENV)/installed
	$(VENV)/bin/python examples/demo.py -o demo_out

test: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/python -m pytest -n 2 --dist worksteal

# In a real ComfyUI, with its own Python: make tour COMFYUI_PATH=... COMFYUI_PYTHON=...
COMFYUI_PATH ?= $(HOME)/comfy/ComfyUI
COMFYUI_PYTHON ?= $(COMFYUI_PATH)/.venv/bin/python
tour:
	COMFYUI_PATH=$(COMFYUI_PATH) $(COMFYUI_PYTHON) tools/tour.py

archive:
	$(PYTHON) tools/archive.py -o node.zip

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable .[test]
	touch $@

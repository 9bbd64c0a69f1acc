"""Runs tests/host/inside in a real ComfyUI, with the host's own interpreter. Set COMFYUI_PATH (and COMFYUI_PYTHON) to choose one."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HOST = Path(os.environ.get("COMFYUI_PATH", "~/comfy/ComfyUI")).expanduser()
INSIDE = Path(__file__).parent / "inside"
HALF = ("test_precisions.py", "test_training.py", "test_web_page.py", "test_workflows.py")  # take about half of the time


def interpreter() -> str:
    """COMFYUI_PYTHON, else the host folder's own virtual environment, else this one."""
    for folder in (".venv", "venv"):
        for python in (HOST / folder / "bin" / "python", HOST / folder / "Scripts" / "python.exe"):
            if python.is_file():
                return os.environ.get("COMFYUI_PYTHON", str(python))
    return os.environ.get("COMFYUI_PYTHON", sys.executable)


def test_the_pack_in_a_real_host():
    if not (HOST / "nodes.py").is_file():
        pytest.skip(f"SKIPPED, NOT TESTED IN A HOST: there is no ComfyUI at {HOST}. Install one there, or set COMFYUI_PATH.")
    python = interpreter()
    probe = subprocess.run([python, "-c", "import torch, aiohttp, torchsde, pytest"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(
            f"SKIPPED, NOT TESTED IN A HOST: {python} lacks what the host or the tests need: {probe.stderr.strip().splitlines()[-1]}"
        )
    command = [python, "-m", "pytest", "-q", "-ra", "--rootdir", ".", "--confcutdir", ".", "-p", "no:cacheprovider"]
    one_thread = {"OMP_NUM_THREADS": "1"}  # tiny tensors: a second thread would mostly wait, for a core that other tests need
    environment = one_thread | os.environ | {"COMFYUI_PATH": str(HOST)}
    half = lambda some: subprocess.run([*command, *some], cwd=INSIDE, capture_output=True, text=True, env=environment)
    with ThreadPoolExecutor() as pool:  # two hosts at once
        runs = list(pool.map(half, [[".", *(f"--ignore={name}" for name in HALF)], HALF]))
    for run in runs:
        print(run.stdout[-6000:])
    assert not any(run.returncode for run in runs), "\n".join(run.stdout[-6000:] + run.stderr[-2000:] for run in runs if run.returncode)

"""Boots a real ComfyUI inside this process, without its web server, and runs prompts on it."""

import asyncio
import importlib
import inspect
import os
import sys
import tempfile
import time
import types
from pathlib import Path

PACK = Path(__file__).parents[3]
HOST = Path(os.environ.get("COMFYUI_PATH", "~/comfy/ComfyUI")).expanduser()


class Host:
    """The host's modules, and the messages of its executor."""

    def __init__(self):
        base = Path(tempfile.mkdtemp(prefix="comfy-"))
        for name in ("models", "input", "output", "temp", "user", "custom_nodes"):
            (base / name).mkdir()
        self.base = base
        sys.argv = sys.argv[:1]  # the host reads the command line
        sys.path.insert(0, str(HOST))
        from comfy.cli_args import args

        args.cpu, args.base_directory = not os.environ.get("RAD_GPU"), str(base)
        import folder_paths

        folder_paths.set_output_directory(str(base / "output"))
        folder_paths.set_temp_directory(str(base / "temp"))
        folder_paths.set_input_directory(str(base / "input"))
        folder_paths.models_dir = str(base / "models")
        importlib.import_module("utils.extra_config")  # before nodes, which puts another "utils" on the path
        import execution
        import server

        import nodes

        server.PromptServer.instance = self.server = types.SimpleNamespace(
            client_id="test",
            last_node_id=None,
            last_prompt_id=None,
            messages=[],
            send_sync=self._record,
            send_progress_text=self._record,
            sockets_metadata={},
            loop=None,
            routes=None,
            prompt_queue=None,
        )
        self.nodes, self.execution, self.folder_paths = nodes, execution, folder_paths
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        before = set(nodes.NODE_CLASS_MAPPINGS)
        kinds = (
            "mask",
            "custom_sampler",
            "images",
            "model_advanced",
            "flux",
            "qwen",
            "cfg",
            "video",
            "differential_diffusion",
            "easycache",
        )
        extras = [HOST / "comfy_extras" / f"nodes_{name}.py" for name in kinds]
        for path in extras:
            if path.exists():
                self.loop.run_until_complete(nodes.load_custom_node(str(path), module_parent="comfy_extras"))
        self.builtin = before | set(nodes.NODE_CLASS_MAPPINGS)
        self.before_pack = set(sys.modules)
        began, used = time.perf_counter(), time.process_time()
        if not self.loop.run_until_complete(nodes.load_custom_node(str(PACK))):
            raise RuntimeError("the pack did not load; see the log")
        self.pack_seconds, self.pack_cpu_seconds = time.perf_counter() - began, time.process_time() - used
        self.ours = sorted(set(nodes.NODE_CLASS_MAPPINGS) - self.builtin)

    def _record(self, event, data=None, sid=None, *rest) -> None:
        self.server.messages.append((event, data))

    def module(self, name: str):
        """A module of the pack, such as "nodes.host.adm"."""
        root = str(PACK).replace(".", "_x_")
        return importlib.import_module(f"{root}.{name}")

    def info(self, node_id: str) -> dict:
        """A node's entry in the host's /object_info."""
        node = self.nodes.NODE_CLASS_MAPPINGS[node_id]
        if hasattr(node, "GET_NODE_INFO_V1"):
            return node.GET_NODE_INFO_V1()
        inputs = node.INPUT_TYPES()
        return {
            "input": inputs,
            "input_order": {group: list(names) for group, names in inputs.items()},
            "output": node.RETURN_TYPES,
            "output_name": getattr(node, "RETURN_NAMES", node.RETURN_TYPES),
        }

    def call(self, node_id: str, **inputs):
        """Call one node as the executor does, and return its outputs."""
        import torch

        with torch.inference_mode():
            out = self.nodes.NODE_CLASS_MAPPINGS[node_id].EXECUTE_NORMALIZED(**inputs)
        return out.args if hasattr(out, "args") else out.result

    def check(self, prompt: dict) -> tuple:
        """(valid, error, outputs, errors by node) of an API-format prompt."""
        check = self.execution.validate_prompt("test", prompt, None)
        return self.loop.run_until_complete(check) if asyncio.iscoroutine(check) else check

    def run(self, prompt: dict):
        """An API-format prompt through the host's executor. Returns (success, messages)."""
        self.server.messages.clear()
        options = inspect.signature(self.execution.PromptExecutor).parameters
        newer = {"cache_args": {"lru": 0, "ram": 0.0, "ram_inactive": 0.0}} if "cache_args" in options else {}  # not in v0.3.64
        executor = self.execution.PromptExecutor(self.server, **newer)
        valid = self.check(prompt)
        if not valid[0] or valid[3]:
            return False, [("validation", valid)]
        executor.execute(prompt, "test", {"client_id": "test"}, valid[2])
        return executor.success, executor.status_messages

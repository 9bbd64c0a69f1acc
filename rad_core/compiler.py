"""The C++ compiler that torch.compile needs on a CPU."""

import os
import shutil
import sys

COMPILERS = {"win32": "cl", "darwin": "clang++"}  # torch's choice by system, elsewhere g++


def compiler_name() -> str:
    """The compiler that torch.compile calls: that of the variable CXX, or the system's."""
    return os.environ.get("CXX", COMPILERS.get(sys.platform, "g++"))


def has_compiler() -> bool:
    """Whether that compiler is installed."""
    return shutil.which(compiler_name()) is not None

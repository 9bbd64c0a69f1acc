"""A pretended GPU: tensors that say "cuda" and compute on the CPU, and refuse to be mixed with CPU tensors as the real ones do.

    with pretend_gpu():
        net.to("cuda") ...

A `PretendTensor` wraps a CPU tensor. Every operation checks that its tensors are on one device (a CPU tensor of no dimensions may join, as
on CUDA) and that random numbers come from a generator of that device. It shows what is on the wrong device, not what is wrong in a real
one's kernels, autocast lists, streams or memory: autocast is the CPU's here. With `pretend_gpu(MPS)` they say "mps", and refuse what
Apple's GPUs refuse or get wrong: float64, uneven adaptive pools, convolution weights that are not contiguous.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest import mock

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA, MPS, CPU = torch.device("cuda", 0), torch.device("mps", 0), torch.device("cpu")
_present = CUDA  # the device that is pretended
ANY_DEVICE = ("aten._to_copy.", "aten.copy_.", "aten.detach.", "aten.lift_fresh.", "aten._local_scalar_dense.", "aten.is_pinned.")
ANY_DEVICE += ("aten._has_compatible_shallow_copy_type.",)
INDEXING = ("aten.index.Tensor", "aten.index_put", "aten._unsafe_index")  # their indices may be on the CPU
MIXED = "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"


class PretendTensor(torch.Tensor):
    """A CPU tensor, `inner`, that says it is on a GPU."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor, requires_grad: bool = False):
        layout = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype, "device": CPU}
        out = torch.Tensor._make_wrapper_subclass(cls, inner.size(), dispatch_device=True, requires_grad=requires_grad, **layout)
        out.inner = inner.detach()
        return out

    def __init__(self, *_, **__):
        pass

    device = property(lambda self: _present)
    is_cuda = property(lambda self: _present == CUDA)
    is_cpu = property(lambda self: False)

    @property
    def data(self) -> torch.Tensor:
        return self.detach()

    @data.setter
    def data(self, other: "PretendTensor") -> None:
        torch.Tensor.data.__set__(self, other)
        self.inner = other.inner

    def __repr__(self, **_) -> str:
        return f"PretendTensor({self.inner})"

    def __deepcopy__(self, memo) -> "PretendTensor":
        copy = PretendTensor(self.inner.clone(), self.requires_grad)
        if isinstance(self, torch.nn.Parameter):
            copy._is_param = True
        memo[id(self)] = copy
        return copy

    def __reduce_ex__(self, protocol):
        return self.inner.__reduce_ex__(protocol)  # a file has no device

    def cpu(self, *_, **__) -> torch.Tensor:
        return self.to("cpu")

    def numpy(self, **_):
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.")

    def __array__(self, *_, **__):
        self.numpy()

    def tolist(self):
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return compute(func, args, kwargs or {})


def _inner(value):
    return value.inner if isinstance(value, PretendTensor) else value


def compute(func, args: tuple, kwargs: dict):
    """Run an operator on the wrapped tensors, after checking their devices."""
    name = str(func)
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
    ours = [tensor for tensor in tensors if isinstance(tensor, PretendTensor)]
    others = [tensor for tensor in tensors if not isinstance(tensor, PretendTensor) and tensor.ndim > 0]
    if ours and others and not name.startswith(ANY_DEVICE) and not (name.startswith(INDEXING) and isinstance(args[0], PretendTensor)):
        raise RuntimeError(f"{MIXED} (in {name})")
    device = kwargs.get("device")
    if device is None or name.startswith("aten._to_copy."):  # autograd copies to where it takes the tensor to be
        here = bool(ours) and not name.startswith("aten._local_scalar_dense.")
    else:
        # C++ allocates gradients where it takes their tensors to be: on the CPU
        allocates = torch._C._current_graph_task_id() != -1 and not others
        here = allocates or torch.device(device).type == _present.type
    generator = kwargs.get("generator")
    if generator is not None and here and generator.device.type != _present.type:
        raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
    if name.startswith("aten.copy_."):
        _inner(args[0]).copy_(_inner(args[1]))
        return args[0]
    options = {key: CPU if key == "device" and here else value for key, value in kwargs.items() if key != "pin_memory" or not here}
    out = func(*tree_map(_inner, args), **tree_map(_inner, options))
    if here and _present == MPS:
        _check_for_mps(name, args, [value for value in tree_leaves(out) if isinstance(value, torch.Tensor)])
    if not func._schema.returns:
        return None
    if ours and func._schema.is_mutable and name.split(".")[1].endswith("_"):
        return args[0]
    known = {id(tensor.inner): tensor for tensor in ours}  # an operator that returns its own argument

    def wrap(value):
        if not here or not isinstance(value, torch.Tensor) or isinstance(value, PretendTensor):
            return value
        return known[id(value)] if id(value) in known else PretendTensor(value)

    return tree_map(wrap, out)


def _check_for_mps(name: str, args: tuple, out: list[torch.Tensor]) -> None:
    if any(value.dtype == torch.float64 for value in out):
        raise TypeError(
            "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64. Please use float32 instead."
        )
    if "adaptive" in name and "backward" not in name:
        for before, after in zip(args[0].shape[-2:], out[0].shape[-2:], strict=True):
            if max(before, after) % min(before, after):
                raise RuntimeError("Adaptive pool MPS: input sizes must be divisible by output sizes.")
    if name.startswith("aten.convolution.") and not _inner(args[1]).is_contiguous():
        raise RuntimeError("MPS reads convolution weights as if they were contiguous.")


class _Operators(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return compute(func, args, kwargs or {})


def _is_device(value) -> bool:
    if not isinstance(value, str):
        return isinstance(value, torch.device)
    try:
        return torch.device(value) is not None
    except RuntimeError:
        return False


class _Moves(TorchFunctionMode):
    """What never asks the tensor is taken over: `.to`, `.cuda` and `torch.tensor(device=)` look for the device's driver before they
    dispatch, and a circular pad allocates where C++ takes the tensor to be."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in (torch.Tensor.to, torch.Tensor.cuda):
            return _move(func is torch.Tensor.cuda, *args, **kwargs)
        if func is torch.device and isinstance(args[0], int):
            return torch.device("cuda", args[0])
        if func in (torch.tensor, torch.as_tensor, torch.asarray) and _is_gpu(kwargs.get("device")):
            del kwargs["device"]
            made = func(*args, **kwargs)
            return made if isinstance(made, PretendTensor) else PretendTensor(made)
        if func is F.pad and isinstance(args[0], PretendTensor) and kwargs.get("mode", [*args, None, None][2]) == "circular":
            return _wrap_around(*args[:2])
        return func(*args, **kwargs)


def _wrap_around(x: torch.Tensor, padding: Sequence[int]) -> torch.Tensor:
    """A circular pad."""
    for k, (before, after) in enumerate(zip(padding[::2], padding[1::2], strict=True), 1):
        x = torch.cat([x.narrow(-k, x.shape[-k] - before, before), x, x.narrow(-k, 0, after)], -k)
    return x


def _is_gpu(device) -> bool:
    return device is not None and torch.device(device).type == _present.type


class _Transfer(torch.autograd.Function):
    """Between CPU and GPU, with gradients."""

    @staticmethod
    def forward(ctx, x, to_gpu):
        ctx.to_gpu = to_gpu
        return PretendTensor(x.clone()) if to_gpu else x.inner.clone()

    @staticmethod
    def backward(ctx, gradient):
        return (gradient.inner if ctx.to_gpu else PretendTensor(gradient)), None


def _move(cuda: bool, x: torch.Tensor, *places, device=None, dtype=None, copy: bool = False, memory_format=None, **_) -> torch.Tensor:
    for value in places:
        if isinstance(value, torch.Tensor):
            device, dtype = value.device, value.dtype
        elif isinstance(value, torch.dtype):
            dtype = value
        elif _is_device(value):
            device = torch.device(value)
    ours = isinstance(x, PretendTensor)
    target = "cuda" if cuda else (_present.type if ours else x.device.type) if device is None else torch.device(device).type
    if target == "meta":
        return torch.empty_like(_inner(x), device="meta", dtype=dtype)
    if x.device.type not in ("cpu", _present.type) or target not in ("cpu", _present.type):
        raise RuntimeError(f"a pretended GPU has no '{target}'")
    if ours != (target == _present.type):
        x = _Transfer.apply(x, not ours)
    dtype = dtype or x.dtype
    if dtype == x.dtype and not copy and memory_format in (None, torch.preserve_format):
        return x
    options = {} if memory_format is None else {"memory_format": memory_format}
    return torch.ops.aten._to_copy(x, dtype=dtype, **options)


def _no_driver(self, device_type, *args, **kwargs) -> None:
    _AUTOCAST(self, "cpu" if device_type == _present.type else device_type, *args, **kwargs)


_AUTOCAST = torch.autocast.__init__


@contextmanager
def pretend_gpu(device: torch.device = CUDA) -> Iterator[None]:
    """A machine with one GPU, CUDA or MPS, in a `with` block."""
    global _present
    answers = {
        "is_available": lambda: True,
        "current_device": lambda: 0,
        "device_count": lambda: 1,
        "_lazy_init": lambda: None,
        "is_bf16_supported": lambda *_: True,
        "synchronize": lambda *_: None,
        "get_rng_state": lambda *_: torch.random.get_rng_state(),
        "set_rng_state": lambda state, *_: torch.random.set_rng_state(state),
    }
    before, _present = _present, device
    overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # Module.to replaces parameters, it does not change their data
    try:
        with mock.patch.multiple(torch.cuda, **answers), mock.patch.object(torch.autocast, "__init__", _no_driver), _Operators(), _Moves():
            yield
    finally:
        _present = before
        torch.__future__.set_overwrite_module_params_on_conversion(overwrite)

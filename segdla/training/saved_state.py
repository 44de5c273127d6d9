"""A saved training, typed, and checked against the network and optimizer that it is loaded into.

Optimizers trust their moments: fused ones read and write memory as far as the parameter goes, whatever the moment's
shape is.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from reprlib import repr as short
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors = dict[str, Tensor]
Facts = dict[str, Any]  # plain values: numbers, strings, None, and lists of them
_LARGEST = 1e38  # of fp16's scale, a float32
_MOST_STEPS = 2**53  # above it a float skips whole numbers


@dataclass(frozen=True)
class SavedState:
    """Everything that a resumed run starts from, as ``Training.state_dict`` gives it; each value is of its type."""

    model: Tensors
    optimizer_name: str
    optimizer: dict[str, Tensors]  # the moments of each parameter, or nothing before the first step
    scaler: dict[str, float]
    ema: Tensors | None
    step: int
    evaluated: int
    best: float
    waited: int  # 0 in states of versions that didn't count it
    skipped: int
    stream: Facts

    @classmethod
    def from_dict(cls, values: Any) -> "SavedState":
        """Return the state that a dict holds. Raises ValueError, which names the value, if it holds none."""
        entries = _mapping(values, "content")
        entries = {"waited": 0, **entries}
        missing = [name for name in cls.__dataclass_fields__ if name not in entries]
        if missing:
            raise ValueError(f"its {missing[0]} is missing")
        step = _count(entries["step"], "step")
        evaluated = _count(entries["evaluated"], "evaluated")
        if evaluated > step:
            raise ValueError(f"its evaluated, {evaluated}, is beyond its step, {step}")
        moments = _mapping(entries["optimizer"], "optimizer")
        scaler = _mapping(entries["scaler"], "scaler")
        stream = _mapping(entries["stream"], "stream")
        return cls(
            model=_tensors(entries["model"], "model"),
            optimizer_name=_of_type(entries["optimizer_name"], str, "optimizer_name"),
            optimizer={name: _tensors(inner, f"optimizer of {short(name)}") for name, inner in moments.items()},
            scaler={name: _number(value, f"scaler's {short(name)}", 0, _LARGEST) for name, value in scaler.items()},
            ema=None if entries["ema"] is None else _tensors(entries["ema"], "ema"),
            step=step,
            evaluated=evaluated,
            best=float(_number(entries["best"], "best", -1, 1)),
            waited=_count(entries["waited"], "waited"),
            skipped=_count(entries["skipped"], "skipped"),
            stream={name: _fact(value, f"stream's {short(name)}") for name, value in stream.items()},
        )

    def require_fit(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: Mapping[str, float],
        ema: AveragedModel | None,
    ) -> None:
        """Raise ValueError, which names the tensor, if the state is of another network, optimizer or scaler.

        ``scaler`` is the state of the scaler in use, and empty if there is none.
        """
        _require_alike(self.model, model.state_dict(), "network")
        if self.optimizer_name != type(optimizer).__name__:
            raise ValueError(f"its optimizer is {short(self.optimizer_name)}, not {type(optimizer).__name__}")
        if self.optimizer:
            self._require_moments(optimizer)
        if scaler and self.scaler:
            if self.scaler.keys() != scaler.keys():
                raise ValueError("fp16's scaler is another one")
            for name in ("scale", "growth_factor", "backoff_factor", "growth_interval"):
                if self.scaler[name] == 0:
                    raise ValueError(f"fp16's {name} is 0")
            _of_type(self.scaler["scale"], float, "scaler's scale")
            for name in ("growth_interval", "_growth_tracker"):
                _count(self.scaler[name], f"scaler's {name}")
        if ema is not None and self.ema is not None:
            _require_alike(self.ema, ema.state_dict(), "moving average")
            if not 0 <= int(self.ema["n_averaged"]) <= _MOST_STEPS:
                raise ValueError(f"the moving average is one of {int(self.ema['n_averaged'])} values")

    def _require_moments(self, optimizer: torch.optim.Optimizer) -> None:
        expected = _expected_moments(optimizer)
        parameters = dict(named_parameters(optimizer))
        if self.optimizer.keys() != parameters.keys():
            raise ValueError("the optimizer's state is of other parameters")
        for name, parameter in parameters.items():
            moments = self.optimizer[name]
            for key, like_parameter in expected.items():
                if key not in moments:
                    raise ValueError(f"the optimizer's {key} of {name} is missing")
                shape, dtype = (parameter.shape, parameter.dtype) if like_parameter else ((), torch.float32)
                _require_tensor(moments[key], shape, dtype, f"the optimizer's {key} of {name}")
                if not like_parameter and not 0 <= float(moments[key]) < _MOST_STEPS:
                    raise ValueError(f"the optimizer's {key} of {name} is {float(moments[key])}")

    def moments(self, optimizer: torch.optim.Optimizer) -> dict[int, Tensors]:
        """Return the moments that the optimizer uses, by the parameter's number."""
        if not self.optimizer:
            return {}
        expected = _expected_moments(optimizer)
        names = [name for name, _ in named_parameters(optimizer)]
        return {i: {key: self.optimizer[name][key] for key in expected} for i, name in enumerate(names) if expected}


def named_parameters(optimizer: torch.optim.Optimizer) -> list[tuple[str, nn.Parameter]]:
    """Return an optimizer's parameters with their names, in order."""
    groups = optimizer.param_groups
    return [pair for group in groups for pair in zip(group["param_names"], group["params"], strict=True)]


def _expected_moments(optimizer: torch.optim.Optimizer) -> dict[str, bool]:
    """Return what an optimizer of this kind keeps for a parameter: True for the parameter's shape, False for a number.

    A step of a small one shows it.
    """
    parameter = nn.Parameter(torch.zeros(2, 3))
    parameter.grad = torch.zeros(2, 3)
    kind: Callable[..., torch.optim.Optimizer] = type(optimizer)
    arguments = {name: optimizer.defaults[name] for name in signature(kind).parameters if name in optimizer.defaults}
    small = kind([parameter], **{**arguments, "fused": False})
    small.step()
    return {key: value.shape == parameter.shape for key, value in small.state[parameter].items() if value is not None}


def _require_alike(tensors: Tensors, expected: Mapping[str, Tensor], owner: str) -> None:
    """Raise ValueError if names, shapes or dtypes differ."""
    for name, tensor in expected.items():
        if name not in tensors:
            raise ValueError(f"the {owner}'s {name} is missing")
        _require_tensor(tensors[name], tensor.shape, tensor.dtype, f"the {owner}'s {name}")
    if unknown := tensors.keys() - expected.keys():
        raise ValueError(f"the {owner} has no {short(min(unknown))}")


def _require_tensor(tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype, name: str) -> None:
    if tuple(tensor.shape) != tuple(shape):
        raise ValueError(f"{name} is {_size(tensor.shape)} there and {_size(shape)} here")
    if tensor.dtype != dtype:
        raise ValueError(f"{name} is {tensor.dtype} there and {dtype} here")


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape[:8])) if len(shape) else "a single number"


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"its {name} is {short(value)}, no dict with names")
    return value


def _tensors(value: Any, name: str) -> Tensors:
    tensors = dict(_mapping(value, name))
    for key, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise ValueError(f"its {name} holds {short(key)}, which is no plain tensor")
    return tensors


def _of_type(value: Any, kind: type, name: str) -> Any:
    if type(value) is not kind:
        raise ValueError(f"its {name} is {short(value)}, no {kind.__name__}")
    return value


def _count(value: Any, name: str) -> int:
    if type(value) is not int or not 0 <= value <= _MOST_STEPS:
        raise ValueError(f"its {name} is {short(value)}, no number of steps")
    return value


def _number(value: Any, name: str, least: float, most: float) -> float:
    if type(value) not in (int, float) or not (least <= value <= most and math.isfinite(value)):
        raise ValueError(f"its {name} is {short(value)}, no number that it can be")
    return value


def _fact(value: Any, name: str) -> Any:
    parts = value if isinstance(value, list | tuple) else [value]
    if not all(part is None or isinstance(part, str | int | float) for part in parts):
        raise ValueError(f"its {name} is {short(value)}, no plain value")
    return value

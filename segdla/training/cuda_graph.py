"""Gradients as a CUDA graph: a thousand kernels, launched as one."""

import torch
from torch import Tensor, nn

from segdla.data.loader import Batch
from segdla.errors import UserError
from segdla.machine import distributed
from segdla.machine.terminal import say
from segdla.training.step import Gradients

_WARM_UPS = 3  # steps that search algorithms, compile kernels and allocate workspaces, which can't be captured


def as_graph(gradients: Gradients, model: nn.Module, device: torch.device) -> Gradients:
    """Return gradients as one CUDA graph. On another device, or in several processes, say that there is none."""
    if device.type == "cuda" and distributed.world_size() == 1:
        return Recorded(gradients, model)
    if distributed.is_main():
        say("train.cuda_graph is for CUDA and one process: kernels are launched one by one")
    return gradients


class Recorded:
    """A function like ``gradients``, captured as a CUDA graph at the first call and replayed at every call.

    A network like DLA-34 takes a thousand short kernels a step, and Python takes longer to launch them than a GPU to
    compute them. A replay uses the graph's own memory: batches are copied into it, and gradients are read from it.
    New random numbers are drawn at each replay. All batches must have one size, and the network's parameters and
    buffers must stay where they are.
    """

    def __init__(self, gradients: Gradients, network: nn.Module):
        self.gradients = gradients
        self.network = network
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, parts: tuple[Batch, ...]) -> Tensor:
        if self.graph is None:
            self.graph = self._record(parts)
        for static, part in zip(self.parts, parts, strict=True):
            assert static.images.shape == part.images.shape, f"{static.images.shape} and {part.images.shape}"
            assert static.targets.shape == part.targets.shape, f"{static.targets.shape} and {part.targets.shape}"
            static.images.copy_(part.images, non_blocking=True)
            static.targets.copy_(part.targets, non_blocking=True)
        self.graph.replay()
        for parameter, gradient in zip(self.network.parameters(), self.recorded_gradients, strict=True):
            parameter.grad = gradient  # the optimizer's zero_grad took it away
        return self.value.clone()

    def _record(self, parts: tuple[Batch, ...]) -> torch.cuda.CUDAGraph:
        """Record a step. Raises UserError if something in the network or the loss can't be recorded."""
        device = next(self.network.parameters()).device
        self.parts = tuple(
            part._replace(images=part.images.to(device, copy=True), targets=part.targets.to(device, copy=True))
            for part in parts
        )
        buffers, random_state = [buffer.clone() for buffer in self.network.buffers()], torch.cuda.get_rng_state(device)
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                self.gradients(self.parts)
                self.network.zero_grad()
        graph = torch.cuda.CUDAGraph()
        try:
            # Only this thread is recorded: the loader's thread continues to pin memory.
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                self.value = self.gradients(self.parts)
        except RuntimeError as error:
            cause = error.__context__ or error  # the error that broke off the recording; to end it then failed too
            if isinstance(cause, torch.OutOfMemoryError):
                raise cause from None
            reason = str(cause).splitlines()[0]
            raise UserError(
                f"the network's step can't be recorded as a CUDA graph ({reason}); set train.cuda_graph=false"
            ) from error
        self.recorded_gradients = [parameter.grad for parameter in self.network.parameters()]
        self.network.zero_grad()
        for buffer, before in zip(self.network.buffers(), buffers, strict=True):
            buffer.copy_(before)
        torch.cuda.set_rng_state(random_state, device)
        return graph

"""Gradients as a CUDA graph: a thousand kernels, launched as one."""

import torch
from torch import Tensor, nn

from segdla.data.loader import Batch
from segdla.engine.step import Gradients
from segdla.errors import UserError

_WARM_UPS = 3  # in which algorithms are searched, kernels compiled and workspaces made, none of which can be recorded


class Recorded:
    """What ``gradients`` computes, recorded at the first call and replayed at every one.

    A network like DLA-34 is a thousand short kernels a step, and Python takes longer to launch them than a GPU to
    compute them. Batches are copied to where those of the recording were, and the gradients come to lie where those of
    the recording did. Random numbers are drawn as the generator stands, not as it stood. All batches have to be of one
    size, and the network's parameters and buffers have to stay where they are.
    """

    def __init__(self, gradients: Gradients, network: nn.Module):
        self.gradients = gradients
        self.network = network
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, parts: tuple[Batch, ...]) -> Tensor:
        if self.graph is None:
            self._record(parts)
        for recorded, part in zip(self.parts, parts, strict=True):
            assert recorded.images.shape == part.images.shape, f"{recorded.images.shape} and {part.images.shape}"
            assert recorded.targets.shape == part.targets.shape, f"{recorded.targets.shape} and {part.targets.shape}"
            recorded.images.copy_(part.images, non_blocking=True)
            recorded.targets.copy_(part.targets, non_blocking=True)
        self.graph.replay()
        for parameter, gradient in zip(self.network.parameters(), self.recorded_gradients, strict=True):
            parameter.grad = gradient  # which clearing them took away
        return self.value.clone()

    def _record(self, parts: tuple[Batch, ...]) -> None:
        """Raises UserError where something in the network or the loss can't be recorded."""
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
            # Of this thread alone: that of the loader goes on pinning memory.
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                self.value = self.gradients(self.parts)
        except RuntimeError as error:
            cause = error.__context__ or error  # what broke the recording off, before ending it failed
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
        self.graph = graph

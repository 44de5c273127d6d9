"""Weights of the package efficientnet_pytorch, and of packages derived from it, under timm's names."""

from collections.abc import Callable, Mapping

from torch import Tensor

_PARTS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}  # not expanded


def with_timm_names(state: Mapping[str, Tensor], theirs: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the tensors under timm's names, if they are of such a package; else as they are.

    ``theirs`` gives the state dict of timm's network. It numbers blocks within stages: ``blocks.2.1``; the packages
    number all of them: ``_blocks.4``. Tensors that neither knows keep their names, and do not fit.
    """
    if "_conv_stem.weight" not in state:
        return dict(state)
    blocks = [name.rpartition(".conv_dw.")[0] for name in theirs() if ".conv_dw." in name]
    numbers = {f"_blocks.{number}": block for number, block in enumerate(dict.fromkeys(blocks))}

    def renamed(name: str) -> str:
        module, _, leaf = name.rpartition(".")
        block, _, part = module.rpartition(".")
        if not block:
            return f"{_PARTS.get(module, module)}.{leaf}"
        parts = _BLOCK if f"{block}._expand_conv.weight" in state else _FIRST_BLOCK
        return f"{numbers.get(block, block)}.{parts.get(part, part)}.{leaf}"

    return {renamed(name): tensor for name, tensor in state.items()}

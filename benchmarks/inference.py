"""Measures prediction with DLA-34 beside its peers: python benchmarks/inference.py [--size H W]

From one image to its class ids, in float32: the plain module as a tutorial would run it (contiguous, argmax at full
size), ours as ``segdla.load`` runs it, ours compiled, in ONNX Runtime and in OpenVINO, and, where it is said, in bf16
and int8; and FPN and U-Net of segmentation-models-pytorch over timm dla34, in both memory layouts as the plain module.
All of ours have the same weights. They run in turn in one process; medians. Adds to results/inference_cpu.json.
"""

import argparse
import copy
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from measure import RESULTS, alternating, keep_memory, machine, write
from torch import Tensor, nn
from training_step import Normalised

from segdla import build, config
from segdla.build.learning import compiled
from segdla.export import export, open_exported
from segdla.export.verify import pictures
from segdla.inference.predictors import Predictor, in_precision
from segdla.inference.scores import classify
from segdla.models.fold import folded
from segdla.models.segmenter import at_image_size

CPU = torch.device("cpu")
SIZES = {(352, 480): 11, (1024, 2048): 19}  # and the classes of CamVid and Cityscapes


def plain(network: nn.Module, image: Tensor) -> Callable[[], Tensor]:
    return lambda: network(image).argmax(1)


def ours(logits: Predictor, stride: int, image: Tensor) -> Callable[[], Tensor]:
    return lambda: classify(at_image_size(logits(image), stride, tuple(image.shape[-2:])))


def peer(kind: str, classes: int) -> nn.Module:
    import segmentation_models_pytorch as smp

    return Normalised(getattr(smp, kind)("tu-dla34", encoder_weights=None, classes=classes)).eval()


def exported(network: nn.Module, kind: str, suffix: str, folder: Path, image: Tensor, int8: bool) -> Predictor:
    path = folder / f"{kind}{'_int8' if int8 else ''}{suffix}"
    export(network, {}, path, kind, [image[0].permute(1, 2, 0).numpy()] if int8 else None)
    return open_exported(path, CPU).logits


def contenders(size: tuple[int, int], stride: int, folder: Path) -> dict[str, Callable[[], Tensor]]:
    classes, image = SIZES.get(size, 19), pictures((size,))[0]
    model = {"backbone": "dla34", "output_stride": stride}
    network = build.model(config.parse({"data": {"dataset": "scenes"}, "model": model}), classes).eval()
    fast = folded(copy.deepcopy(network).to(memory_format=torch.channels_last))
    eager = build.for_prediction(copy.deepcopy(network).to(memory_format=torch.channels_last), CPU, "fp32")
    logits = {
        "ours, eager": eager.logits,
        "ours, compiled": compiled(fast.logits, CPU),
        "ours, ONNX Runtime": exported(network, "onnx", ".onnx", folder, image, False),
        "ours, OpenVINO": exported(network, "openvino", ".xml", folder, image, False),
        "ours, eager, bf16": in_precision(fast.logits, CPU, "bf16"),
        "ours, OpenVINO, int8": exported(network, "openvino", ".xml", folder, image, True),
    }
    others = {"plain module": network, "smp FPN": peer("FPN", classes), "smp U-Net": peer("Unet", classes)}
    found = {}
    for name, module in others.items():
        found[name] = plain(module, image)
        found[f"{name}, channels-last"] = plain(copy.deepcopy(module).to(memory_format=torch.channels_last), image)
    return found | {name: ours(function, stride, image) for name, function in logits.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), default=(352, 480))
    parser.add_argument("--stride", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--leave-out", nargs="*", default=(), metavar="NAME", help="contenders to do without")
    args = parser.parse_args()
    keep_memory()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        ways = contenders(tuple(args.size), args.stride, Path(folder))
        found = alternating({name: way for name, way in ways.items() if name not in args.leave_out}, args.rounds)
    rows = {name: {"time_over_plain": s / found["plain module"], "milliseconds": 1000 * s} for name, s in found.items()}
    for name, row in rows.items():
        print(f"{name:22} {row['time_over_plain']:5.2f} x the plain module  {row['milliseconds']:7.0f} ms")
    record = RESULTS / f"inference_{CPU.type}.json"
    before = json.loads(record.read_text(encoding="utf-8"))["sizes"] if record.exists() else {}
    sizes = {**before, f"{args.size[0]}x{args.size[1]}, stride {args.stride}": rows}
    write(record.stem, {"batch": 1, **machine(CPU), "sizes": sizes})


if __name__ == "__main__":
    main()

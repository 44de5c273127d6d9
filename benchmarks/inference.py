"""Measure prediction with DLA-34 beside its peers: python benchmarks/inference.py [--size H W]

From one image to its class ids, in float32 unless the name says bf16 or int8. Contenders are the plain module as a
tutorial would run it (contiguous, argmax at full size), ours as ``segdla.load`` runs it, ours compiled, in ONNX Runtime
and in OpenVINO, and segmentation-models-pytorch's FPN and U-Net over timm's dla34. The plain module and the peers run
in both memory layouts. All of ours have the same weights. Contenders run in turn in one process; the times are medians,
which are added to results/inference_cpu.json.
"""

import argparse
import copy
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from measure import RESULTS, alternating, machine, write
from torch import Tensor, nn
from training_step import Normalised

import segdla
from segdla.checkpoints.checkpoint import Card
from segdla.data.source import Classes
from segdla.export.formats import open_file, write_file
from segdla.export.verify import pictures
from segdla.inference.predictors import LogitsOf
from segdla.inference.score_maps import classify
from segdla.machine.device import compiled, in_precision
from segdla.machine.heap import keep_memory
from segdla.models.dlaseg import DLASeg, at_image_size
from segdla.models.fold import folded, for_prediction

CPU = torch.device("cpu")
NUM_CLASSES = {(352, 480): 11, (1024, 2048): 19}  # by size: CamVid's and Cityscapes'


def plain(network: nn.Module, image: Tensor) -> Callable[[], Tensor]:
    return lambda: network(image).argmax(1)


def ours(logits_of: LogitsOf, stride: int, image: Tensor) -> Callable[[], Tensor]:
    return lambda: classify(at_image_size(logits_of(image), stride, tuple(image.shape[-2:])))


def peer(kind: str, num_classes: int) -> nn.Module:
    import segmentation_models_pytorch as smp

    return Normalised(getattr(smp, kind)("tu-dla34", encoder_weights=None, classes=num_classes)).eval()


def exported(network: DLASeg, kind: str, suffix: str, folder: Path, image: Tensor, int8: bool) -> LogitsOf:
    path = folder / f"{kind}{'_int8' if int8 else ''}{suffix}"
    num_classes = network.classifier.out_channels
    card = Card({}, Classes(tuple(map(str, range(num_classes))), ((0, 0, 0),) * num_classes))
    write_file(network, card, path, kind, [image[0].permute(1, 2, 0).numpy()] if int8 else None)
    return open_file(path, CPU).logits_of


def contenders(size: tuple[int, int], stride: int, folder: Path) -> dict[str, Callable[[], Tensor]]:
    """Return the contenders by name, each a function from nothing to class ids of one image."""
    num_classes, image = NUM_CLASSES.get(size, 19), pictures((size,))[0]
    network = segdla.create_model("dla34", num_classes, output_stride=stride).eval()
    fast = folded(copy.deepcopy(network).to(memory_format=torch.channels_last))
    eager = for_prediction(copy.deepcopy(network).to(memory_format=torch.channels_last), CPU, "fp32")
    logits = {
        "ours, eager": eager.logits,
        "ours, compiled": compiled(fast.logits, CPU),
        "ours, ONNX Runtime": exported(network, "onnx", ".onnx", folder, image, False),
        "ours, OpenVINO": exported(network, "openvino", ".xml", folder, image, False),
        "ours, eager, bf16": in_precision(fast.logits, CPU, "bf16"),
        "ours, OpenVINO, int8": exported(network, "openvino", ".xml", folder, image, True),
    }
    others = {"plain module": network, "smp FPN": peer("FPN", num_classes), "smp U-Net": peer("Unet", num_classes)}
    ways = {}
    for name, module in others.items():
        ways[name] = plain(module, image)
        ways[f"{name}, channels-last"] = plain(copy.deepcopy(module).to(memory_format=torch.channels_last), image)
    return ways | {name: ours(logits_of, stride, image) for name, logits_of in logits.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), default=(352, 480), help="(default: 352 480)")
    parser.add_argument("--stride", type=int, default=2, help="output stride of our network (default: 2)")
    parser.add_argument("--rounds", type=int, default=9, help="calls of each contender (default: 9)")
    parser.add_argument("--leave-out", nargs="*", default=(), metavar="NAME", help="contenders to leave out")
    args = parser.parse_args()
    keep_memory(CPU)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        ways = contenders(tuple(args.size), args.stride, Path(folder))
        times = alternating({name: way for name, way in ways.items() if name not in args.leave_out}, args.rounds)
    rows = {name: {"time_over_plain": s / times["plain module"], "milliseconds": 1000 * s} for name, s in times.items()}
    for name, row in rows.items():
        print(f"{name:22} {row['time_over_plain']:5.2f} x the plain module  {row['milliseconds']:7.0f} ms")
    record = RESULTS / f"inference_{CPU.type}.json"
    before = json.loads(record.read_text(encoding="utf-8"))["sizes"] if record.exists() else {}
    sizes = {**before, f"{args.size[0]}x{args.size[1]}, stride {args.stride}": rows}
    write(record.stem, {"batch": 1, **machine(CPU), "sizes": sizes})


if __name__ == "__main__":
    main()

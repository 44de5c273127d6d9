"""Measure each aggregation, decoder and node: python benchmarks/aggregation.py [--camvid DIR] [--data scenes]

With --set decoders it measures IDA-up, a sum of skips and no decoder, each over the same three backbones. Each variant
changes the config's ``model`` section alone, and is trained by ``segdla train`` for the same number of steps, with two
seeds. CamVid is scored on a drive that is held out, another one for each seed, at half size, as in recipe.py; drawn
scenes on those that the package draws to validate on. Without --camvid, only scenes are trained.

One training runs at a time. The script resumes where it was stopped, and writes the set's file in results/ after
each training. At the end it measures a prediction of each network, all in turn, and prints a table.
"""

import argparse
import json
import os
import time
from pathlib import Path

import torch
from camvid import spread
from measure import RESULTS, alternating, machine, run_training, write
from recipe import HELD_OUT, halve

from segdla.config import load_config
from segdla.machine.heap import keep_memory
from segdla.models.dlaseg import DLASeg
from segdla.models.fold import for_prediction
from segdla.models.from_config import build_network
from segdla.models.macs import count_macs

CONFIGS = {"camvid": Path("configs/camvid_compact_cpu.yaml"), "scenes": Path("configs/quickstart.yaml")}
SIZE = (180, 240)  # of a prediction that is timed: CamVid's images at half size
PLAIN = {"backbone_node": "concat"}  # the backbone's own, so that the decoder alone has another
Variants = dict[str, dict[str, object]]
AGGREGATIONS: Variants = {  # changes of the config's section model
    "DLA: hierarchical, IDA-up, concat": {},
    "aggregation none": {"aggregation": "none"},
    "aggregation shallow": {"aggregation": "shallow"},
    "aggregation iterative": {"aggregation": "iterative"},
    "aggregation tree": {"aggregation": "tree"},
    "aggregation reentrant": {"aggregation": "reentrant"},
    "decoder shallow": {"decoder": "shallow"},
    "decoder none": {"decoder": "none", "output_stride": 32},
    "node residual": {"node": "residual"},
    "node sum": {"node": "sum"},
    "node attention": {"node": "attention"},
    "node attention, in the decoder": {"node": "attention"} | PLAIN,
    "node deformable": {"node": "deformable"},
    "node deformable, in the decoder": {"node": "deformable"} | PLAIN,
}
BACKBONES = {
    "DLA-46-C": "dla46_c",
    "ResNet-18": "timm/resnet18",
    "EfficientNet-Lite0": "timm/tf_efficientnet_lite0",
}
DECODERS: Variants = {
    f"{network}, {name}": {"backbone": backbone} | changes
    for network, backbone in BACKBONES.items()
    for name, changes in {
        "IDA-up": {},
        "sum of skips": AGGREGATIONS["decoder shallow"],
        "no decoder": AGGREGATIONS["decoder none"],
    }.items()
}
SETS = {"aggregation": AGGREGATIONS, "decoders": DECODERS}
VARIANTS = AGGREGATIONS | DECODERS


def settings(data: str, seed: int, epochs: int, work: Path) -> tuple[str, ...]:
    """Return what is common to all trainings on a data set with a seed."""
    common = (
        f"train.seed={seed}",
        f"train.epochs={epochs}",
        f"train.eval_every={epochs}",
        "train.precision=fp32",
        "data.workers=0",
    )
    if data == "scenes":
        return (*common, "model.output_stride=2", "model.node=null", "model.backbone_node=null")
    drive = next(drive for drive, its_seed in HELD_OUT.items() if its_seed == seed)
    crop = [side // 2 for side in load_config(CONFIGS[data], {"data.root": "."}).data.crop]
    return (*common, f"data.root={work / drive}", f"data.crop={crop}", "data.cache=ram", "data.train_on_val=false")


def train(data: str, variant: str, seed: int, epochs: int, work: Path) -> float:
    """Train a variant, or go on where it was stopped; return the mIoU of its last weights."""
    run = work / data / f"{variant}, seed {seed}".replace(" ", "_").replace(":", "").replace(",", "")
    changes = (f"model.{key}={value}" for key, value in VARIANTS[variant].items())
    run_training(run, str(CONFIGS[data]), *settings(data, seed, epochs, work), *changes)
    return json.loads((run / "scores.json").read_text(encoding="utf-8"))["mean_iou"]


def network_of(variant: str) -> DLASeg:
    """Return an untrained network of CamVid's 11 classes."""
    overrides = {"data.root": "."} | {f"model.{key}": value for key, value in VARIANTS[variant].items()}
    model = load_config(CONFIGS["camvid"], overrides).model
    torch.manual_seed(0)
    return build_network(model, 11).eval()


def costs(variants: list[str], device: torch.device, rounds: int) -> dict[str, dict[str, float]]:
    """Return parameters, multiply-accumulates and milliseconds of each variant, predicting one image."""
    networks = {variant: network_of(variant) for variant in variants}
    figures = {
        variant: {"parameters": sum(p.numel() for p in network.parameters()), "macs": count_macs(network, *SIZE)}
        for variant, network in networks.items()
    }
    images = torch.randint(0, 256, (1, 3, *SIZE), dtype=torch.uint8, device=device)
    fast = {variant: for_prediction(network.to(device), device, "fp32") for variant, network in networks.items()}
    with torch.inference_mode():
        clock = time.process_time if device.type == "cpu" else time.perf_counter  # other work may share the machine
        times = alternating({variant: lambda n=network: n(images) for variant, network in fast.items()}, rounds, clock)
    return {variant: {**figures[variant], "ms": round(1000 * times[variant], 2)} for variant in variants}


def table(record: dict) -> str:
    """Return a Markdown table: a row a variant, a column a data set."""
    data = [name for name in CONFIGS if record["data"].get(name, {}).get("mean_iou")]
    columns = ["variant", "parameters, M", "MACs, G", "ms", *(f"mIoU, {name}" for name in data)]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for variant, cost in record.get("costs", {}).items():
        cells = [variant, f"{cost['parameters'] / 1e6:.3f}", f"{cost['macs'] / 1e9:.2f}", f"{cost['ms']:.1f}"]
        for name in data:
            ious = record["data"][name]["mean_iou"].get(variant, {})
            cells.append(spread([100 * iou for iou in ious.values()]) if ious else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--camvid", type=Path, help="CamVid as the SegNet authors prepared it")
    parser.add_argument("--data", nargs="+", choices=CONFIGS, default=list(CONFIGS), help="(default: both)")
    parser.add_argument("--epochs", type=int, default=40, help="of CamVid (default: 40)")
    parser.add_argument("--scenes-epochs", type=int, default=10, help="of drawn scenes (default: 10)")
    parser.add_argument("--seeds", type=int, nargs="+", choices=(0, 1), default=(0, 1), help="(default: 0 1)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of a training (default: one a core)")
    parser.add_argument("--set", choices=SETS, default="aggregation", help="(default: aggregation)")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, metavar="VARIANT", help="(default: all of the set)")
    parser.add_argument("--rounds", type=int, default=20, help="of timed predictions (default: 20)")
    work = Path("runs/aggregation")
    parser.add_argument("--work", type=Path, default=work, help=f"folder of the images and the runs (default: {work})")
    parser.add_argument("--record", help="name of the file in results/ (default: the set's)")
    args = parser.parse_args()
    variants = args.only or list(SETS[args.set])

    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # of the trainings, which are processes of their own
    torch.set_num_threads(args.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    path = RESULTS / f"{args.record or args.set}.json"
    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"data": {}}
    epochs = {"camvid": args.epochs, "scenes": args.scenes_epochs}
    data = [name for name in args.data if name != "camvid" or args.camvid]
    if "camvid" in data and not all((args.work / drive).exists() for drive in HELD_OUT):
        halve(args.camvid, args.work)
    for name in data:
        results = record["data"].setdefault(
            name, {"config": str(CONFIGS[name]), "epochs": epochs[name], "mean_iou": {}}
        )
        if results["epochs"] != epochs[name]:
            parser.error(f"{path} is of {results['epochs']} epochs of {name}; give as many, or another --record")
        for seed in args.seeds:  # all variants with one seed first, so that a table of all is there early
            for variant in variants:
                ious = results["mean_iou"].setdefault(variant, {})
                if str(seed) not in ious:
                    ious[str(seed)] = train(name, variant, seed, epochs[name], args.work)
                    write(path.stem, {**record, **machine(device), "threads": args.threads})
    keep_memory(device)
    record["costs"] = record.get("costs", {}) | costs(variants, device, args.rounds)
    write(path.stem, {**record, **machine(device), "threads": args.threads, "size": SIZE})
    print(table(record))


if __name__ == "__main__":
    main()

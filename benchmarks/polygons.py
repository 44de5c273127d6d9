"""Measure polygons of CamVid's labels: python benchmarks/polygons.py [--root ../camvid]

For each tolerance, the corners an image of 360x480 takes, and the IoU by class of what the polygons restore; and the
time of one core (the process's, in milliseconds) for an image of a megapixel. Results are written to
results/polygons.json.
"""

import argparse
import statistics
import time

import cv2
import numpy as np
import torch
from measure import machine, write

from segdla.data.annotations.rasterize import draw
from segdla.data.annotations.shapes import Shape
from segdla.data.camvid import camvid
from segdla.data.label_files.regions import Region, polygons
from segdla.data.labels import IGNORE_INDEX

TOLERANCES = (0, 0.25, 0.5, 0.6, 0.8, 1, 2)
LARGE = (864, 1152)


def restored(regions: list[Region], size: tuple[int, int]) -> np.ndarray:
    """Return the class ids that polygons restore, by the rule by which labels are read."""
    target = np.full(size, IGNORE_INDEX - 1, np.uint8)
    shapes = [Shape(str(region.class_id), ((region.joined,),)) for region in regions]
    draw(target, shapes, {str(i): i for i in range(IGNORE_INDEX + 1)}, smaller_on_top=True)
    return target


def measure(targets: list[np.ndarray], names: tuple[str, ...], tolerance: float) -> dict:
    """Return the corners, the IoU by class and the time of a tolerance."""
    both, either = np.zeros(len(names)), np.zeros(len(names))
    corners = equal = 0
    for target in targets:
        regions = polygons(target, tolerance)
        corners += sum(len(region.joined) for region in regions)
        found = restored(regions, target.shape)
        equal += np.array_equal(found, target)
        for class_id in range(len(names)):
            one, other = found == class_id, target == class_id
            both[class_id] += (one & other).sum()
            either[class_id] += (one | other).sum()
    large = [cv2.resize(target, LARGE[::-1], interpolation=cv2.INTER_NEAREST) for target in targets[::20]]
    times = []
    for target in large:
        start = time.process_time()
        count = len(polygons(target, tolerance))
        times.append((time.process_time() - start, count))
    iou = dict(zip(names, (both / either).round(4).tolist(), strict=True))
    return {
        "tolerance": tolerance,
        "corners": round(corners / len(targets)),
        "equal": f"{equal} of {len(targets)}",
        "ms_of_a_megapixel": round(1000 * statistics.median(seconds for seconds, _ in times), 1),
        "regions_of_it": round(statistics.median(count for _, count in times)),
        "iou": iou,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default="../camvid", help="CamVid, as the SegNet authors' (default: ../camvid)")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    source = camvid(args.root, "test", "segnet")
    targets = [source.target(index) for index in range(len(source))]
    rows = [measure(targets, source.classes.names, tolerance) for tolerance in TOLERANCES]
    for row in rows:
        least = min(row["iou"], key=row["iou"].get)
        scores = f"least IoU {row['iou'][least]} ({least})  Car {row['iou']['Car']}  Road {row['iou']['Road']}"
        cost = f"{row['corners']:>6} corners  {row['equal']} equal  {row['ms_of_a_megapixel']:>6} ms"
        print(f"{row['tolerance']:>5}  {cost}  {scores}")
    write("polygons", {**machine(torch.device("cpu")), "tolerances": rows})


if __name__ == "__main__":
    main()

"""Train on a data set of your own, whatever holds it: here NumPy archives, each with an image and its mask."""

from pathlib import Path

import numpy as np

import segdla


class Archives(segdla.Source):
    classes = segdla.Classes(names=("ground", "box"), palette=((128, 64, 128), (0, 0, 142)))

    def __init__(self, folder: Path):
        self.paths = sorted(folder.glob("*.npz"))

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        return self.paths[index].stem

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        with np.load(self.paths[index]) as arrays:
            return arrays["image"], arrays["mask"]  # RGB (H,W,3) and class ids (H,W), both uint8; 255 is ignored


if __name__ == "__main__":
    folder, draw = Path("archives"), np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    for number in range(12):  # stand-ins: a bright box on dark ground
        mask = np.zeros((64, 96), np.uint8)
        mask[draw.integers(40) :, draw.integers(60) :] = 1
        np.savez(folder / f"{number:02}.npz", image=np.stack([60 + 120 * mask] * 3, axis=-1), mask=mask)
    source, train = Archives(folder), {"epochs": 3, "batch_size": 4, "optimizer": "adamw", "lr": 0.004}
    config = segdla.Config(data={"dataset": "scenes", "crop": (64, 96)}, model={"backbone": "dla46_c"}, train=train)
    run = segdla.train(config, source={"train": source, "val": source}, name="archives")
    print(segdla.evaluate(run, source=source).iou)

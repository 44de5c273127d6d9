"""Fine-tune a trained network in a plain PyTorch loop: the one that comes along, on drawn street scenes."""

import torch

import segdla
from segdla.checkpoints.find import SHIPPED
from segdla.data.scenes import Scenes

if __name__ == "__main__":
    scenes = Scenes("train", 16, (64, 96))
    images = torch.stack([torch.from_numpy(scenes.read(i)[0]).permute(2, 0, 1) for i in range(len(scenes))])
    targets = torch.stack([torch.from_numpy(scenes.target(i)).long() for i in range(len(scenes))])
    # All of the file's weights are taken but its classifier, which is of other classes.
    model = segdla.create_model("dla46_c", len(scenes.classes), output_stride=4, weights=str(SHIPPED))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.001)
    model.train()
    for epoch in range(1, 4):
        total = 0.0
        for batch in torch.randperm(len(images)).split(4):
            logits = model(images[batch])  # RGB bytes (B,3,H,W) to (B,C,H,W); normalising is inside
            loss = segdla.losses.cross_entropy(logits, targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        print(f"epoch {epoch}  loss {total / len(images):.3f}")
    model.eval()
    with torch.inference_mode():
        class_ids = model(images[:4]).argmax(dim=1)
    print(f"{(class_ids == targets[:4]).float().mean():.0%} of the pixels of four images are right")

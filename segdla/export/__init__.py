"""Networks as files for other runtimes: ONNX, OpenVINO and torch.export; written, checked and opened again.

A file takes RGB images (B,3,H,W) uint8 of any size; normalising and padding are inside. It gives, for our own commands,
``logits`` (B,C,h,w) float32 at the output stride, of the images padded at the bottom and the right. For other programs
it gives ``prediction`` (B,H,W) uint8, the class ids. The checkpoint's card is in the file too.
"""

"""DLA backbones, the IDA-up decoder and the segmentation network made of them."""

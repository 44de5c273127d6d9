"""Data sets, their augmentation and the loader."""

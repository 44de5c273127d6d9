"""Checkpoints: weights with everything needed to use them, how they are found, and the hub they come from."""

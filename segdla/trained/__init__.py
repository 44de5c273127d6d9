"""Trained networks: opened from a run, a file or the hub, applied to images, scored on a data set, served over HTTP."""

"""The doctor: it examines a data set before training, and drafts a first config for images and their labels."""

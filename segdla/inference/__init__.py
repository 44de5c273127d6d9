"""Prediction: from logits to class ids, at several scales, mirrored, by windows, along a video, in little memory."""

"""Test-time prediction: from logits to class ids, at several scales, mirrored, by windows, in little memory."""

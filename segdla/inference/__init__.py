"""From a trained network to class ids: at several scales, mirrored, by windows, in little memory."""

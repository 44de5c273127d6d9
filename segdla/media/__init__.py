"""Images and videos in, pictures and videos out, read, predicted and written at the same time in bounded memory."""

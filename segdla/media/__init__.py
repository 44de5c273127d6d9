"""Images, videos, cameras in, pictures and videos out: read, predicted, written at the same time, in bounded memory."""

"""The most that a service takes, and uploads received within it."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request

PATIENCE = 30.0
"""Seconds that an upload may stand still."""


@dataclass(frozen=True)
class Limits:
    """The most that is taken: bytes of an upload, pixels of an image or frame, frames of a video, requests waiting."""

    upload_bytes: int = 200_000_000
    pixels: int = 50_000_000
    frames: int = 3000
    waiting: int = 8

    def require_pixels(self, height: int, width: int) -> None:
        """Raise HTTPException 413 if an image is too large."""
        if height * width > self.pixels:
            raise HTTPException(
                413, f"the upload has {height}x{width} pixels; at most {self.pixels:,} are taken here: make it smaller"
            )

    def require_frames(self, count: int) -> None:
        """Raise HTTPException 413 if a video has too many frames to predict."""
        if count > self.frames:
            raise HTTPException(
                413,
                f"{count:,} frames of the video would be predicted, at most {self.frames:,} are here: cut it, or ask "
                "for fewer frames_per_second",
            )


async def receive(request: Request, path: Path, most: int) -> None:
    """Write the body of a request to a file.

    Raises HTTPException: 413 if it has more than ``most`` bytes, 408 if no more of it comes.
    """
    too_large = HTTPException(413, f"the upload has more than the {most:,} bytes that are taken here: make it smaller")
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > most:
        raise too_large
    received, chunks = 0, aiter(request.stream())
    with path.open("wb") as file:
        while True:
            try:
                async with asyncio.timeout(PATIENCE):
                    chunk = await anext(chunks, None)
            except TimeoutError:
                raise HTTPException(408, f"nothing of the upload came for {PATIENCE:.0f} s; send it again") from None
            if chunk is None:
                return
            received += len(chunk)
            if received > most:
                raise too_large
            file.write(chunk)

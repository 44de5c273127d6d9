"""Videos that were uploaded: frames thinned to a rate, predicted one a turn, told one a line or written as a file."""

import shutil
from collections.abc import Collection, Generator, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from segdla.errors import UserError
from segdla.media.inputs import Input
from segdla.media.video import VideoReader
from segdla.media.video_outputs import VideoOutput
from segdla.trained.serve.answers import Answering, Frame, Picture
from segdla.trained.serve.limits import Limits

_CONTAINERS = (  # bytes of containers, and their place
    *((4, kind) for kind in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),  # MP4, QuickTime
    (0, b"\x1a\x45\xdf\xa3"),  # Matroska, WebM
    (8, b"AVI "),
    (0, b"\x00\x00\x01\xba"),  # MPEG
    (0, b"FLV\x01"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),  # WMV
)
_PACKETS = ((0, 188), (4, 192))  # of an MPEG transport stream: place of the first byte of the first one, and lengths


class ThinnedVideo:
    """A video's frames, of which at most ``rate`` a second are read; a context that closes the file.

    ``num_frames`` are kept, about; 0 if nothing tells. Raises UserError if it can't be decoded.
    """

    def __init__(self, path: Path, rate: float, limits: Limits):
        require_container(path)
        self._reader = VideoReader(path)
        self._limits = limits
        self._own_rate = self._reader.rate
        self.rate = min(rate, self._own_rate)
        self.num_frames = self._slot(self._reader.num_frames - 1) + 1 if self._reader.num_frames else 0

    def frames(self) -> Iterator[tuple[float, np.ndarray]]:
        """Yield the time in seconds and the image (H,W,3) of each frame that is kept.

        Raises HTTPException 413 if they are too large or too many, UserError if there is none or the file breaks off.
        """
        self._limits.require_frames(self.num_frames)
        kept = index = 0
        while (frame := self._reader.read()) is not None:
            if index == 0:
                self._limits.require_pixels(*frame.image.shape[:2])
            if self._slot(index) == kept:
                self._limits.require_frames(kept + 1)
                kept += 1
                yield index / self._own_rate, frame.image
            index += 1
        expected = self._reader.num_frames
        if not kept:
            raise UserError("none of the video's frames can be decoded; replace or remove it")
        if index < 0.9 * expected:  # some formats only estimate how many they hold
            raise UserError(f"the video breaks off after {index} of {expected} frames")

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def _slot(self, index: int) -> int:
        """Return the place of a frame among those that are kept; of several with one place, the first is kept."""
        return index * round(1e6 * self.rate) // round(1e6 * self._own_rate)


def require_container(path: Path) -> None:
    """Raise UserError if a file is not a container of video.

    Else FFmpeg would also follow playlists, which name other files.
    """
    with path.open("rb") as file:
        start = file.read(1024)
    is_stream = any(len(start) > 3 * step and set(start[first::step]) == {0x47} for first, step in _PACKETS)
    if not is_stream and not any(start.startswith(magic, place) for place, magic in _CONTAINERS):
        raise UserError("the upload is not a video of a kind that is taken here (MP4, MOV, WebM, MKV, AVI, MPEG, WMV)")


def each_frame(
    answering: Answering, path: Path, rate: float, limits: Limits, pictures: Collection[Picture]
) -> Generator[Frame, None, None]:
    """Predict a video; yield each frame's answer. Raises what ``ThinnedVideo`` and its ``frames`` raise."""
    with closing(ThinnedVideo(path, rate, limits)) as video:
        for index, (seconds, image) in enumerate(video.frames()):
            answer = answering.answer(image, pictures)
            count = max(video.num_frames, index + 1)
            yield Frame(**answer.model_dump(), index=index, seconds=round(seconds, 4), frames=count)


def written_video(
    answering: Answering, path: Path, rate: float, limits: Limits, kind: str
) -> Generator[Path | int, None, None]:
    """Predict a video, and write the outputs of a kind beside it; yield the index of each frame, and the file at last.

    Class ids, which are a PNG a frame, are packed into a ZIP archive. Raises what ``ThinnedVideo`` and its ``frames``
    raise, and UserError if the file can't be written.
    """
    output, entry = answering.output(path.parent, kind), Input("video.mp4", "video")
    with closing(ThinnedVideo(path, rate, limits)) as video, VideoOutput(output, entry, video.rate) as writing:
        for index, (_, image) in enumerate(video.frames()):
            writing.write(image, answering.segmenter.predict(image))
            yield index
    result = output.paths(entry)[kind]
    yield Path(shutil.make_archive(str(result), "zip", result)) if result.is_dir() else result

"""A camera, live: its newest frame, and the time at which it came."""

import threading
import time
from collections.abc import Generator

import cv2

from segdla.errors import UserError
from segdla.machine.terminal import say
from segdla.media.video import TimedImage, quiet

_PATIENCE = 2.0  # seconds for a camera to close


class Camera:
    """A camera of this machine, by its number. Frames that come while nobody asks are dropped, so that none is late."""

    def __init__(self, number: int):
        self._number = number
        self._arrived = threading.Condition()
        self._newest: TimedImage | None = None
        self._error: Exception | None = None
        self._has_ended = False
        self.was_stopped = False

    def frames(self) -> Generator[TimedImage, None, None]:
        """Yield the newest frame whenever one is asked for, until ``stop``, or until the camera gives none any more.

        Raises UserError if there is no such camera.
        """
        quiet()
        # Opened here and not by the thread: macOS asks for leave to see only from a process's main one.
        capture = cv2.VideoCapture(self._number)
        if not capture.isOpened():
            raise UserError(
                f"there is no camera {self._number} here, or another program has it; the first one is camera:0"
            )
        say(f"recording camera:{self._number} until Ctrl-C")
        thread = threading.Thread(target=self._follow, args=(capture,), daemon=True)
        thread.start()
        try:
            while (frame := self._next()) is not None:
                yield frame
        finally:
            self._has_ended = True
            thread.join(_PATIENCE)
        if self._error:
            raise self._error

    def stop(self) -> None:
        """End the frames; a handler of signals may call it."""
        with self._arrived:
            self.was_stopped = True
            self._arrived.notify_all()

    def _next(self) -> TimedImage | None:
        with self._arrived:
            self._arrived.wait_for(lambda: self._newest or self._has_ended or self.was_stopped)
            frame, self._newest = self._newest, None
            return None if self.was_stopped else frame

    def _follow(self, capture: cv2.VideoCapture) -> None:
        """Keep the newest frame until the end, and release the camera; runs in a thread.

        OpenCV's captures are not thread-safe, and a driver may take its time: only who reads can release.
        """
        start: float | None = None
        try:
            while not self._has_ended:
                has_frame, frame = capture.read()
                if not has_frame:
                    break
                now = time.monotonic()
                start = now if start is None else start
                image = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                with self._arrived:
                    self._newest = TimedImage(image, now - start)
                    self._arrived.notify_all()
        except Exception as error:  # raised where frames are asked for
            self._error = error
        finally:
            capture.release()
        with self._arrived:
            self._has_ended = True
            self._arrived.notify_all()

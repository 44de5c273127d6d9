"""The web application: endpoints for programs, with their OpenAPI description, and the page."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Annotated, Any
from uuid import uuid4

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from segdla.data.images import image_size, read_image
from segdla.errors import UserError, one_line, quoted
from segdla.trained.segmenter import Segmenter
from segdla.trained.serve.answers import Answer, Answering, Frame, Kind, Network, Picture, PngKind, Problem
from segdla.trained.serve.guard import Guard
from segdla.trained.serve.limits import Limits, receive
from segdla.trained.serve.videos import each_frame, written_video
from segdla.trained.serve.work_queue import AbandonedError, RefusedError, WorkQueue
from segdla.version import __version__

_STATIC = Path(__file__).parent / "static"
_DESCRIPTION = """Images and videos to class ids, confidences and colours. An upload is the bytes of a file as the body
of a request: `curl --data-binary @street.jpg ADDRESS/api/predict`. Problems are told as `{"detail": "..."}`."""
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The upload can't be read."},
    408: {"model": Problem, "description": "The upload stands still."},
    413: {"model": Problem, "description": "The upload is larger than is taken here."},
    422: {"model": Problem, "description": "A parameter's value is not allowed."},
    503: {"model": Problem, "description": "The queue is full: Retry-After says in how many seconds to try again."},
}
_UPLOAD = {"schema": {"type": "string", "format": "binary"}}
_BODY = {"requestBody": {"required": True, "content": {"application/octet-stream": _UPLOAD}}}
_USUAL: list[Picture] = ["ids"]
Pictures = Annotated[list[Picture], Query(description="pictures to put into the answer; image is the upload, as JPEG")]
Rate = Annotated[float, Query(gt=0, le=120, description="the most frames to predict of a second of the video")]


def create_app(
    segmenter: Segmenter, folder: Path, limits: Limits | None = None, names: Collection[str] = ()
) -> FastAPI:
    """Return the application of a segmenter, an ASGI app; uploads are kept in ``folder`` while they are answered.

    ``names`` are host names by which browsers may reach it, besides addresses and localhost. ``app.state.queue`` is to
    be ended and closed at the end.
    """
    service = _Service(segmenter, folder, limits or Limits())
    app = FastAPI(title="segdla", version=__version__, description=_DESCRIPTION, docs_url=None, redoc_url=None)
    app.state.queue = service.queue
    app.add_middleware(Guard, names=names)
    app.get("/api/network", summary="The network")(service.network)
    add = partial(app.post, responses=_PROBLEMS, openapi_extra=_BODY)
    add("/api/predict", summary="An image, answered in JSON")(service.predict)
    add("/api/png/{kind}", summary="An image, answered by a picture", **_answers("image/png"))(service.png)
    lines: dict[str, Any] = {"response_class": _Lines, "responses": {**_PROBLEMS, 200: {"model": Frame}}}
    add("/api/frames", summary="A video, answered frame by frame", **lines)(service.frames)
    add("/api/video/{kind}", summary="A video, answered by a file", **_answers("video/mp4", "application/zip"))(
        service.video
    )
    app.mount("/", StaticFiles(directory=_STATIC, html=True))
    app.add_exception_handler(UserError, lambda _, error: _problem(400, service.without_paths(error)))
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(RequestValidationError, _wrong_parameter)
    for gone in (AbandonedError, ClientDisconnect):
        app.add_exception_handler(gone, lambda *_: Response(status_code=499))  # which nobody reads
    return app


class _Service:
    """The endpoints."""

    def __init__(self, segmenter: Segmenter, folder: Path, limits: Limits):
        self._answering = Answering(segmenter)
        self._folder = folder
        self._limits = limits
        self.queue = WorkQueue(limits.waiting)

    async def network(self) -> Network:
        """The network's classes, and the limits of this service."""
        return self._answering.network(self._limits)

    async def predict(self, request: Request, pictures: Pictures = _USUAL) -> Answer:
        """Classes with their shares and confidences, and pictures in base64."""
        async with self._upload(request) as path:
            return await self._do(request, lambda: self._answering.answer(self._read(path), pictures))

    async def png(self, request: Request, kind: PngKind) -> Response:
        """One picture of an image. The samples of `ids` and of `color` are class ids."""
        async with self._upload(request) as path:
            content = await self._do(request, lambda: self._answering.predicted_picture(self._read(path), kind))
        return Response(content, media_type="image/png")

    async def frames(self, request: Request, frames_per_second: Rate = 5, pictures: Pictures = _USUAL) -> Response:
        """A JSON object a line (NDJSON, of the schema Frame), as frames are predicted.

        If the video breaks off, the last line is a Problem.
        """
        async with AsyncExitStack() as stack:
            path = await stack.enter_async_context(self._upload(request))
            steps = each_frame(self._answering, path, frames_per_second, self._limits, pictures)
            frames = await stack.enter_async_context(aclosing(self.queue.each(steps, request.is_disconnected)))
            first = await anext(frames)
            return _Lines(stack.pop_all(), self._lines(first, frames))

    async def video(self, request: Request, kind: Kind, frames_per_second: Rate = 25) -> Response:
        """A video as `segdla predict` writes it, an MP4; of `ids`, a ZIP archive with a PNG for each frame."""
        async with AsyncExitStack() as stack:
            path = await stack.enter_async_context(self._upload(request))
            steps = written_video(self._answering, path, frames_per_second, self._limits, kind)
            result = path
            async with aclosing(self.queue.each(steps, request.is_disconnected)) as results:
                async for step in results:
                    result = step if isinstance(step, Path) else result
            media_type = "application/zip" if result.suffix == ".zip" else "video/mp4"
            length = {"Content-Length": str(result.stat().st_size)}
            return _Held(stack.pop_all(), _chunks(result), media_type=media_type, headers=length)

    def without_paths(self, error: Exception) -> str:
        """Return an error's text without paths of this machine."""
        inside = rf"{re.escape(str(self._folder))}[\\/]\w+"
        text = re.sub(rf"{inside}[\\/]upload\b", "the upload", str(error))
        return one_line(re.sub(rf"{inside}[^\s:;,]*", "a temporary file", text))

    @asynccontextmanager
    async def _upload(self, request: Request) -> AsyncIterator[Path]:
        """Hold a place in the queue and the file of a request, alone in a folder."""
        folder = self._folder / uuid4().hex
        with self.queue.place():
            folder.mkdir()
            try:
                await receive(request, folder / "upload", self._limits.upload_bytes)
                yield folder / "upload"
            finally:
                self.queue.afterwards(partial(rmtree, folder, ignore_errors=True))

    async def _do(self, request: Request, call: Any) -> Any:
        return await self.queue.do(call, is_abandoned=request.is_disconnected)

    def _read(self, path: Path) -> np.ndarray:
        self._limits.require_pixels(*image_size(path))
        return read_image(path, self._answering.sample_range)

    async def _lines(self, first: Frame, others: AsyncGenerator[Frame, None]) -> AsyncIterator[str]:
        yield first.model_dump_json() + "\n"
        try:
            async for frame in others:
                yield frame.model_dump_json() + "\n"
        except (UserError, RefusedError) as error:
            yield Problem(detail=self.without_paths(error)).model_dump_json() + "\n"
        except HTTPException as error:
            yield Problem(detail=error.detail).model_dump_json() + "\n"
        except AbandonedError:  # nobody reads on
            return


class _Held(StreamingResponse):
    """A stream that closes what it is made from when it ends, or breaks off."""

    def __init__(self, held: AsyncExitStack, content: Any, status_code: int = 200, **options: Any):
        super().__init__(content, status_code, **options)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            await super().__call__(scope, receive, send)


class _Lines(_Held):
    """JSON objects, one a line."""

    media_type = "application/x-ndjson"


def _answers(*media_types: str) -> dict[str, Any]:
    """Return the options of a route whose answers are files."""
    content = {media_type: _UPLOAD for media_type in media_types}
    return {"response_class": Response, "responses": {**_PROBLEMS, 200: {"content": content}}}


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(2**18):
            yield chunk


def _problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": detail}, status, headers)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RefusedError)
    return _problem(503, str(error), {"Retry-After": str(error.seconds)} if error.seconds else None)


async def _wrong_parameter(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    complaints = (f"{one['loc'][1]} {quoted(one['input'])}: {_lowered(one['msg'])}" for one in error.errors())
    return _problem(422, one_line("; ".join(complaints), 1000))


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]

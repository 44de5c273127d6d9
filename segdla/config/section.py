"""A section of the config, and the types of its values."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from segdla.errors import quoted

MOST_PIXELS = 32_000  # a side; OpenCV counts the coordinates of a warp in 16 bits
MOST_IMAGES = 65_536  # in a batch
MOST = 10**9  # of what is only counted
_CREDENTIALS = re.compile(r"(https?://)(?:[^/]*@|[^?]*\?)|(?:\w+://)[^/]*:[^/]*@", re.ASCII)

Fraction = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
NonNegative = Annotated[float, Field(ge=0)]
Byte = Annotated[int, Field(ge=0, le=255)]
PositiveFraction = Annotated[float, Field(gt=0, le=1)]
Factor = Annotated[float, Field(gt=0, le=1000)]
Magnification = Annotated[float, Field(ge=0.01, le=100)]  # of an image, before it is cropped
Scale = Annotated[float, Field(gt=0, le=16)]  # of an image, at test time
Count = Annotated[int, Field(ge=0, le=MOST)]
PositiveCount = Annotated[int, Field(gt=0, le=MOST)]
BatchSize = Annotated[int, Field(gt=0, le=MOST_IMAGES)]
Side = Annotated[int, Field(gt=0, le=MOST_PIXELS)]
Size = tuple[Side, Side]  # (height, width)


def _without_nul(path: str) -> str:
    if "\0" in path:
        raise ValueError(f"the path {quoted(path)} holds a NUL character; take it out")
    return path


def _without_credentials(path: str) -> str:
    found = _CREDENTIALS.match(path)
    if found:
        raise ValueError(
            f"this {path.partition(':')[0]}:// URL holds credentials, and configs are written down; give them by the "
            "environment, as docs/storage.md says"
        )
    return path


def _require_url(text: str) -> str:
    if "://" not in text:
        raise ValueError(f"{quoted(text)} is no URL; write one such as s3://BUCKET/RUNS, or copy the folder yourself")
    return text


PathText = Annotated[str, AfterValidator(_without_nul), AfterValidator(_without_credentials)]
UrlText = Annotated[PathText, AfterValidator(_require_url)]


class Section(BaseModel):
    """Frozen and strict. The docstring under a field goes into the JSON schema and into docs/config.md."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

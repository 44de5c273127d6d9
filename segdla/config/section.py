"""A section of the config, and the types of its values."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Byte = Annotated[int, Field(ge=0, le=255)]
PositiveFraction = Annotated[float, Field(gt=0, le=1)]
Scale = Annotated[float, Field(gt=0, le=16)]  # of an image, at test time
Size = tuple[PositiveInt, PositiveInt]  # (height, width)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

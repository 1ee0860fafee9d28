"""What a pipeline may say about its stages."""

from typing import Literal, TypeAlias

from pydantic import Field, model_validator

from edge_vision.core.options import Fraction, Number, Options


class FilterOptions(Options):
    """Keeps the detections that matter; what is not given does not filter."""

    kind: Literal["filter"]
    name: str | None = Field(None, description="What `expose` calls this stage; its kind if not given.")
    classes: tuple[str, ...] | None = Field(None, min_length=1, description="Labels to keep.")
    min_confidence: Fraction | None = Field(None, description="Lowest score to keep.")
    min_area_px: Number | None = Field(None, ge=0, description="Smallest box to keep, in square pixels.")
    max_area_px: Number | None = Field(None, gt=0, description="Largest box to keep, in square pixels.")

    @model_validator(mode="after")
    def _areas_in_order(self) -> "FilterOptions":
        if (self.min_area_px or 0.0) > (self.max_area_px or float("inf")):
            msg = f"min_area_px {self.min_area_px:g} is more than max_area_px {self.max_area_px:g}"
            raise ValueError(msg)
        return self


AnalyticsOptions: TypeAlias = FilterOptions
"""Every kind of analytics stage; a union as soon as there are two."""

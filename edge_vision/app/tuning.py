"""What commands have changed of a camera's pipeline: its stages as they are set now."""

from typing import Any, Final

from pydantic import ValidationError

from edge_vision.analytics.table import STAGES
from edge_vision.config.site import Camera
from edge_vision.core.errors import CommandError

_DETECT: Final = "detect"


class Tuning:
    """The options of a camera's stages, as the site file has them until a command sets another confidence.

    One thread sets; the road looks at `stages` before each frame, and goes on with what it finds there.
    """

    def __init__(self, camera: Camera) -> None:
        self.stages = camera.stages
        self.confidence: float | None = None
        """What a command has set; None for what the site file says."""
        self._camera = camera

    @property
    def configured(self) -> float | None:
        """The confidence of the site file or the pipeline; None where it is the model's own."""
        place, option = self._camera.confidence[0] if self._camera.confidence else (0, "")
        value: float | None = getattr(self._camera.stages[place], option, None)
        return value

    def set_confidence(self, value: float | None) -> None:
        """Set what `with: {confidence: ...}` sets in a site file, 0 to 1; None goes back to what that says.

        Raises CommandError; then nothing has changed.
        """
        camera = self._camera
        if not camera.confidence:
            msg = f"pipeline {camera.pipeline} exposes no confidence"
            raise CommandError(msg)
        stages = list(camera.stages)
        for place, option in camera.confidence if value is not None else ():
            options = stages[place]
            name = options.name or options.kind
            if options.kind != _DETECT and not hasattr(STAGES.get(options.kind), "retune"):
                msg = f"stage {name} takes another {option} from the site file only: change it there and reload"
                raise CommandError(msg)
            try:
                stages[place] = type(options).model_validate({**_given(options), option: value})
            except ValidationError as error:
                reason = error.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
                msg = f"stage {name}: {reason}"
                raise CommandError(msg) from None
        self.stages, self.confidence = tuple(stages), value


def _given(options: Any) -> dict[str, Any]:
    """The fields of options as they are: values that are options themselves stay whole."""
    return {name: getattr(options, name) for name in type(options).model_fields}

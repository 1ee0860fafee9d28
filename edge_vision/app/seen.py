"""Sums up what a pipeline saw and told, and says it in a few lines."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from edge_vision.core.events import Event
from edge_vision.core.scene import Scene

_MOST_NAMED: Final = 12


class Seen:
    """Objects by class, what was read and known of them, events by kind, and the last measures."""

    def __init__(self) -> None:
        self.frames = 0
        self.objects: Counter[str] = Counter()
        self.texts: Counter[str] = Counter()
        self.attributes: dict[str, Counter[str]] = {}
        self.events: Counter[str] = Counter()
        self.readings: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()
        self.measures: dict[str, float] = {}
        self.models: dict[str, str] = {}
        """The runtime of each model that looked."""

    def add(self, scene: Scene) -> None:
        """Take in one frame and what was seen in it."""
        seen = scene.detections
        self.frames += 1
        self.models.update({model.name: model.backend for model in scene.models})
        self.objects.update(scene.labels[class_id] for class_id in seen.class_id.tolist())
        if seen.text is not None:
            self.texts.update(text for text in seen.text.tolist() if text)
        for name, column in seen.attributes.items():
            if column.dtype.kind == "U":
                known = self.attributes.setdefault(name, Counter())
                known.update(value for value in column.tolist() if value)
        self.measures.update(scene.measures)
        self.hear(scene.events)

    def hear(self, events: tuple[Event, ...]) -> None:
        """Take in what happened."""
        for event in events:
            self.events[event.kind] += 1
            text, verdict = getattr(event, "text", None), getattr(event, "verdict", None)
            if isinstance(text, str):
                self.readings[text] += 1
            if isinstance(verdict, str):
                self.verdicts[verdict] += 1

    @property
    def backends(self) -> str:
        """The runtimes that answered."""
        return ", ".join(dict.fromkeys(self.models.values())) or "no model"

    def lines(self) -> Iterator[str]:
        """What there is to say besides frames and objects, a line each."""
        for name, found in (("text", self.texts), *self.attributes.items()):
            if found:
                yield f"{name}: {_listed(found, quoted=name == 'text')}"
        if self.measures:
            yield "measures: " + ", ".join(f"{name} {value:.4g}" for name, value in self.measures.items())
        if self.events:
            yield f"events: {_listed(self.events)}"
        if self.readings:
            yield f"read: {_listed(self.readings, quoted=True)}"
        if self.verdicts:
            yield f"verdicts: {_listed(self.verdicts)}"


def _listed(counts: Counter[str], *, quoted: bool = False) -> str:
    """The most common first, each with its number; what was read in quotes."""
    named = [f'{count} "{name}"' if quoted else f"{count} {name}" for name, count in counts.most_common(_MOST_NAMED)]
    more = len(counts) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")

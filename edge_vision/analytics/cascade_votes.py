"""Remembers what was read of each track, and votes: a plate is read a few times, not in every frame."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.analytics.rows import TrackRows

_FORGET_NS: Final = 60_000_000_000
"""A track that was not seen for so long will not come back."""
_LARGER: Final = 4.0
"""A track whose area has grown so many times since its best reading is read again: twice as wide, twice as high."""


@dataclass(slots=True)
class Ballot:
    """The readings of one track. Whole texts are voted on, each reading with its confidence.

    To vote on each character by itself could make up a text that was never read and that no pattern was held against,
    and one character that is missed moves all behind it.
    """

    weights: dict[str, float] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    vectors: list[NDArray[np.float32]] = field(default_factory=list)

    def add(self, text: str, confidence: float) -> None:
        """One more reading."""
        self.weights[text] = self.weights.get(text, 0.0) + confidence
        self.counts[text] += 1

    @property
    def leader(self) -> str:
        """The text with the greatest weight; of equal ones the one that was read first."""
        return max(self.weights, key=self.weights.__getitem__)

    @property
    def confidence(self) -> float:
        """The leader's weight per reading: the mean of its confidences, where all agree."""
        return self.weights[self.leader] / self.counts.total()

    @property
    def votes(self) -> int:
        """How many readings were the leader."""
        return self.counts[self.leader]

    def settled(self, reads: int) -> bool:
        """Whether `reads` readings are done, or the rest of them cannot change the winner: no vote is more than 1."""
        first, second = (sorted((0.0, 0.0, *self.weights.values()))[-place] for place in (1, 2))
        left = reads - self.counts.total()
        return left <= 0 or first - second > left


class Readings:
    """What is known of each track: its ballot, what leads, and when it was read last."""

    def __init__(self, reads: int, every_s: float, again_after_s: float | None) -> None:
        self._reads = reads
        self._every_ns = round(every_s * 1e9)
        self._again_ns = None if again_after_s is None else round(again_after_s * 1e9)
        self._ballots: dict[int, Ballot] = {}
        self._tracks = TrackRows(
            read_ns=np.array(-(2**62), np.int64),
            area=np.zeros((), np.float32),
            settled=np.zeros((), bool),
            text=np.array("", object),
            confidence=np.array(np.nan, np.float32),
            told=np.array("", object),
            quad=np.zeros((4, 2), np.float32),
            class_id=np.zeros((), np.int32),
        )

    def __len__(self) -> int:
        return len(self._tracks)

    def see(
        self, track_id: NDArray[np.int32], class_id: NDArray[np.int32], quads: NDArray[np.float32], media_ns: int
    ) -> NDArray[np.intp]:
        """The rows of tracks that are seen now."""
        rows, _ = self._tracks.see(track_id, media_ns)
        self._tracks["quad"][rows] = quads
        self._tracks["class_id"][rows] = class_id
        return rows

    def due(self, rows: NDArray[np.intp], areas: NDArray[np.float32], media_ns: int) -> NDArray[np.bool_]:
        """Which tracks are to be read now: undecided ones every so often, decided ones when grown, or after a time."""
        tracks = self._tracks
        since = np.abs(media_ns - tracks["read_ns"][rows])  # media time may jump back
        wanted = ~tracks["settled"][rows] | (areas >= _LARGER * tracks["area"][rows])
        if self._again_ns is not None:
            wanted |= since >= self._again_ns
        return np.asarray(wanted & (since >= self._every_ns))

    def tried(self, rows: NDArray[np.intp], media_ns: int) -> None:
        """These were shown to the model, whatever came of it."""
        self._tracks["read_ns"][rows] = media_ns

    def add(self, row: int, text: str, confidence: float, area: float) -> None:
        """One reading of a track, of a region of so many square pixels."""
        tracks = self._tracks
        ballot = self._ballots.setdefault(int(tracks.track_id[row]), Ballot())
        ballot.add(text, confidence)
        tracks["text"][row] = ballot.leader
        tracks["confidence"][row] = ballot.confidence
        tracks["area"][row] = max(area, float(tracks["area"][row]))
        tracks["settled"][row] = ballot.settled(self._reads)

    def add_vector(self, row: int, vector: NDArray[np.float32], area: float) -> None:
        """One more embedding of a track: their mean counts, of the last few."""
        tracks = self._tracks
        ballot = self._ballots.setdefault(int(tracks.track_id[row]), Ballot())
        ballot.vectors = [*ballot.vectors[1 - self._reads or 1 :], vector]
        tracks["area"][row] = max(area, float(tracks["area"][row]))
        tracks["settled"][row] = len(ballot.vectors) >= self._reads

    def vectors(self, rows: NDArray[np.intp]) -> dict[int, NDArray[np.float32]]:
        """The mean embedding of each track that has one, of unit length, by the place in `rows`."""
        found: dict[int, NDArray[np.float32]] = {}
        for place, track_id in enumerate(self._tracks.track_id[rows].tolist()):
            ballot = self._ballots.get(track_id)
            if ballot is not None and ballot.vectors:
                mean = np.mean(ballot.vectors, axis=0, dtype=np.float32)
                found[place] = mean / max(float(np.linalg.norm(mean)), 1e-12)
        return found

    def known(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.object_], NDArray[np.float32]]:
        """What leads for each track, empty where nothing was read, and its confidence, NaN there."""
        return self._tracks["text"][rows], self._tracks["confidence"][rows]

    def news(self, media_ns: int, patience_ns: int) -> Iterator[dict[str, Any]]:
        """What is to be told: of tracks that are decided, or gone for `patience_ns`, what was not told already."""
        tracks = self._tracks
        gone = np.abs(media_ns - tracks.seen_ns) >= patience_ns
        fresh = (tracks["text"] != "") & (tracks["text"] != tracks["told"])
        for row in np.flatnonzero((tracks["settled"] | gone) & fresh).tolist():
            track_id = int(tracks.track_id[row])
            tracks["told"][row] = tracks["text"][row]
            yield {
                "text": tracks["text"][row],
                "confidence": self._ballots[track_id].confidence,
                "votes": self._ballots[track_id].votes,
                "quad": tracks["quad"][row],
                "track_id": track_id,
                "class_id": int(tracks["class_id"][row]),
            }
        old = np.abs(media_ns - tracks.seen_ns) > _FORGET_NS
        for track_id in tracks.track_id[old].tolist():
            self._ballots.pop(track_id, None)
        tracks.forget(old)

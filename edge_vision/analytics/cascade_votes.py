"""Remembers what was read of each track, and votes: a plate is read a few times, not in every frame."""

from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.analytics.rows import TrackRows

_FORGET_NS: Final = 60_000_000_000
"""A track that was not seen for so long will not come back."""
_LARGER: Final = 4.0
"""A track whose area has grown so many times since its best reading is read again: twice as wide, twice as high."""


class Ballot:
    """The last few readings of one track. Whole texts are voted on, each reading with its confidence.

    To vote on each character by itself could make up a text that was never read and that no pattern was held against,
    and one character that is missed moves all behind it.
    """

    def __init__(self, reads: int) -> None:
        self._reads = reads
        self._readings: deque[tuple[str, float]] = deque(maxlen=reads)
        self._vectors: deque[NDArray[np.float32]] = deque(maxlen=reads)

    def add(self, text: str, confidence: float) -> None:
        """One more reading."""
        self._readings.append((text, confidence))

    def add_vector(self, vector: NDArray[np.float32]) -> None:
        """One more embedding."""
        self._vectors.append(vector)

    @property
    def vector(self) -> NDArray[np.float32] | None:
        """The mean embedding, of unit length; None without any."""
        if not self._vectors:
            return None
        mean = np.mean(self._vectors, axis=0, dtype=np.float32)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12))

    @property
    def leader(self) -> str:
        """The text with the greatest weight; of equal ones the one that was read first."""
        weights = self._weights()
        return max(weights, key=weights.__getitem__)

    @property
    def confidence(self) -> float:
        """The leader's weight per reading: the mean of its confidences, where all agree."""
        return max(self._weights().values()) / len(self._readings)

    @property
    def votes(self) -> int:
        """How many readings were the leader."""
        leader = self.leader
        return sum(text == leader for text, _ in self._readings)

    @property
    def settled(self) -> bool:
        """Whether all readings are done, or the rest of them cannot change the winner: no vote is more than 1."""
        first, second = sorted((0.0, 0.0, *self._weights().values()))[:-3:-1]
        left = self._reads - max(len(self._readings), len(self._vectors))
        return left <= 0 or first - second > left

    def _weights(self) -> dict[str, float]:
        weights: dict[str, float] = {}
        for text, confidence in self._readings:
            weights[text] = weights.get(text, 0.0) + confidence
        return weights


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
        ballot = self._ballot(row)
        ballot.add(text, confidence)
        self._tracks["text"][row] = ballot.leader
        self._tracks["confidence"][row] = ballot.confidence
        self._done(row, ballot, area)

    def add_vector(self, row: int, vector: NDArray[np.float32], area: float) -> None:
        """One embedding of a track."""
        ballot = self._ballot(row)
        ballot.add_vector(vector)
        self._done(row, ballot, area)

    def _ballot(self, row: int) -> Ballot:
        return self._ballots.setdefault(int(self._tracks.track_id[row]), Ballot(self._reads))

    def _done(self, row: int, ballot: Ballot, area: float) -> None:
        self._tracks["area"][row] = max(area, float(self._tracks["area"][row]))
        self._tracks["settled"][row] = ballot.settled

    def vectors(self, rows: NDArray[np.intp]) -> dict[int, NDArray[np.float32]]:
        """The mean embedding of each track that has one, by the place in `rows`."""
        ballots = map(self._ballots.get, self._tracks.track_id[rows].tolist())
        means = ((place, ballot.vector) for place, ballot in enumerate(ballots) if ballot is not None)
        return {place: mean for place, mean in means if mean is not None}

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

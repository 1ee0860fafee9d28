"""What the status of a site says: the shape of the message that the app fills in, for its JSON schema."""

from typing import Literal, TypeAlias

import msgspec

_Counts: TypeAlias = dict[str, int]


class _Frames(msgspec.Struct):
    """Frames of a camera since the start."""

    captured: int
    lost: int
    analyzed: int
    failed: int
    dropped: int


class _Percentiles(msgspec.Struct):
    p50: float
    p95: float


class _Camera(msgspec.Struct):
    """How a camera is: `lost` has no frames, `failing` no analysis, `failed` is for good."""

    id: str
    state: Literal["starting", "online", "lost", "failing", "ended", "failed"]
    frames: _Frames
    reopened: int
    latency_ms: _Percentiles
    error: str | msgspec.UnsetType = msgspec.UNSET


class _Sink(msgspec.Struct):
    """How a sink is: `gone` is for good. `dropped` counts by "source/kind"."""

    sink: str
    state: Literal["starting", "online", "lost", "gone"]
    delivered: int
    queued: int
    dropped: _Counts
    error: str | msgspec.UnsetType = msgspec.UNSET


class _Outbox(msgspec.Struct):
    """How the outbox is: `lost` when nothing can be written, and new messages wait in memory.

    `set_aside` counts the damaged files since the start.
    """

    state: Literal["online", "lost"]
    set_aside: int
    error: str | msgspec.UnsetType = msgspec.UNSET


class _Server(msgspec.Struct):
    """How a server is that answers in the place of this machine; `refused` answered something else."""

    url: str
    state: Literal["starting", "online", "lost", "refused"]
    frames: int
    lost: int
    device: str | msgspec.UnsetType = msgspec.UNSET
    agreement: dict[str, float] | msgspec.UnsetType = msgspec.UNSET
    error: str | msgspec.UnsetType = msgspec.UNSET


class _Fallback(msgspec.Struct):
    """For how many frames, and how long, this machine stood in for its servers."""

    frames: int
    seconds: float


class _Remote(msgspec.Struct):
    servers: list[_Server]
    fallback: _Fallback


class _ServedModel(msgspec.Struct):
    """Who runs a model, why others were passed over, and what its golden data prove."""

    name: str
    backend: str
    device: str
    precision: str
    passed_over: dict[str, str]
    batching: str
    proof: Literal["verified", "unverified", "none"]
    agreement: dict[str, float] | msgspec.UnsetType = msgspec.UNSET
    remote: _Remote | msgspec.UnsetType = msgspec.UNSET


class Status(msgspec.Struct):
    """How the site is; the last one, offline, has the reason and the final counts. Retained by brokers."""

    schema: str
    kind: str
    id: str
    boot: str
    seq: int
    site: str
    timestamp: str
    state: Literal["starting", "online", "degraded", "offline"]
    reason: str | msgspec.UnsetType = msgspec.UNSET
    models: list[_ServedModel] | msgspec.UnsetType = msgspec.UNSET
    cameras: list[_Camera] | msgspec.UnsetType = msgspec.UNSET
    publish: list[_Sink] | msgspec.UnsetType = msgspec.UNSET
    outbox: _Outbox | msgspec.UnsetType = msgspec.UNSET

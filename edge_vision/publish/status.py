"""What the status of a site says: the shape of the message that the app fills in, for its JSON schema."""

from typing import Literal, TypeAlias

import msgspec

_Counts: TypeAlias = dict[str, int]


class _Frames(msgspec.Struct):
    """Frames of a camera since the start; `skipped` came while it was disabled."""

    captured: int
    lost: int
    analyzed: int
    failed: int
    dropped: int
    skipped: int | msgspec.UnsetType = msgspec.UNSET


class _Percentiles(msgspec.Struct):
    p50: float
    p95: float


class _Overrides(msgspec.Struct):
    """What commands have changed of what the site file says."""

    enabled: bool | msgspec.UnsetType = msgspec.UNSET
    confidence: float | msgspec.UnsetType = msgspec.UNSET


class _Camera(msgspec.Struct):
    """How a camera is: `lost` has no frames, `failing` no analysis, `failed` is for good, `disabled` as commanded."""

    id: str
    state: Literal["starting", "online", "lost", "failing", "ended", "failed", "disabled"]
    frames: _Frames
    reopened: int
    latency_ms: _Percentiles
    overrides: _Overrides | msgspec.UnsetType = msgspec.UNSET
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


class _Inlet(msgspec.Struct):
    """Where commands come in. Of those received, `done` were carried out and `refused` answered with a reason.

    `ignored` counts what is not taken for a command (it was retained), `unanswered` the answers that could not be sent.
    """

    commands: str
    state: Literal["starting", "online", "lost"]
    received: int
    done: int
    refused: int
    ignored: int
    unanswered: int
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


class _Evidence(msgspec.Struct):
    """Pictures and clips of events, since the start; `bytes` is what the folder holds.

    `dropped` are pictures for which there was no memory or time, `missing` files that could not be kept, `left_out`
    events for which cooldown_s wants none, `removed` files that had to go.
    """

    events: int
    written: int
    dropped: int
    missing: int
    left_out: int
    removed: int
    bytes: int
    waiting: int
    error: str | msgspec.UnsetType = msgspec.UNSET


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
    evidence: _Evidence | msgspec.UnsetType = msgspec.UNSET
    commands: list[_Inlet] | msgspec.UnsetType = msgspec.UNSET

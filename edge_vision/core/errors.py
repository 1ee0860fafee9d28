"""What can go wrong, as a tree; each class says in one sentence what the daemon does about it.

EdgeVisionError
├── ConfigError (ValueError)
├── MissingLibraryError (ImportError)
├── CommandError (ValueError)
├── SourceError (OSError)
│   └── SourceTimeoutError (TimeoutError)
├── DownloadError (OSError)
├── EvidenceError (OSError)
├── BackendError (RuntimeError)
│   ├── BackendUnavailableError
│   │   └── UnfinishedTrialError
│   ├── ParityError
│   ├── NoBackendError
│   │   └── NoBackendYetError
│   ├── ModelError
│   └── InferenceError
├── SinkError (OSError)
│   └── SinkGoneError (BrokenPipeError)
└── OutboxError (OSError)
    ├── OutboxBlockedError
    ├── OutboxInUseError
    └── CorruptOutboxError
"""

from collections.abc import Sequence
from typing import Final

EXIT_DONE: Final = 0
"""Everything asked for was done and delivered."""
EXIT_GAVE_UP: Final = 70
"""Something failed that a restart may mend (EX_SOFTWARE): systemd restarts."""
EXIT_CONFIG: Final = 78
"""The configuration or a model is wrong (EX_CONFIG): systemd does not restart."""


class EdgeVisionError(Exception):
    """The root of every error this package raises on purpose."""


class ConfigError(EdgeVisionError, ValueError):
    """The site cannot run as written: every problem is printed at once and the process ends with 78."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class MissingLibraryError(EdgeVisionError, ImportError):
    """An optional library is absent: a backend is passed over with this reason, anything else ends with 78."""


class CommandError(EdgeVisionError, ValueError):
    """A command cannot be carried out: it is answered with the reason, and nothing changes."""


class SourceError(EdgeVisionError, OSError):
    """A source cannot be opened or read: a camera is opened again after a pause, a file is given up.

    The pause is at least `patience_s` seconds: a camera that refuses a password locks an account that knocks often.
    """

    def __init__(self, message: str = "", *, patience_s: float = 0.0) -> None:
        super().__init__(message)
        self.patience_s = patience_s


class SourceTimeoutError(SourceError, TimeoutError):
    """A source stayed silent past its limit: handled like any other `SourceError`."""


class DownloadError(EdgeVisionError, OSError):
    """A file cannot be fetched: tried again a few times where `again` says so, then the command ends with 70."""

    def __init__(self, message: str, *, again: bool = False) -> None:
        super().__init__(message)
        self.again = again


class EvidenceError(EdgeVisionError, OSError):
    """A picture or clip of an event cannot be kept or found: the message about it says why, and analysis goes on."""


class BackendError(EdgeVisionError, RuntimeError):
    """The root of what goes wrong between a model and a runtime."""


class BackendUnavailableError(BackendError):
    """A runtime cannot serve this model on this machine: the next candidate is tried, the reason kept."""


class UnfinishedTrialError(BackendUnavailableError):
    """A trial found nothing out, for want of memory or time: the next candidate is tried, the reason kept."""


class ParityError(BackendError):
    """A runtime answers differently from the reference: the next candidate is tried, the figure kept."""


class NoBackendError(BackendError):
    """No candidate can serve the model: every reason is printed and the process ends with 78."""


class NoBackendYetError(NoBackendError):
    """No candidate is left, but one was not tried to the end: every reason is printed, the process ends with 70."""


class ModelError(BackendError):
    """The model itself is unusable (shape, labels, file): the process ends with 78."""


class InferenceError(BackendError):
    """One inference failed or ran out of time: the frame is counted as failed and the unit starts afresh."""


class SinkError(EdgeVisionError, OSError):
    """A sink did not take the messages: they are kept, and sent again after a pause.

    `delivered` counts the messages, from the first of the batch, that it did take before it failed. `patience_s` is
    how long to wait, at least, where trying soon is of no use or does harm, such as with a wrong password.
    """

    def __init__(self, message: str, delivered: int = 0, patience_s: float = 0.0) -> None:
        super().__init__(message)
        self.delivered = delivered
        self.patience_s = patience_s


class SinkGoneError(SinkError, BrokenPipeError):
    """Whoever read from the sink has left for good: it is closed, and what is left for it is counted as dropped."""


class OutboxError(EdgeVisionError, OSError):
    """The outbox cannot be read or written: messages wait in memory, and it is tried again; a start ends with 78."""


class OutboxBlockedError(OutboxError):
    """The disk is full, or does not work, for now: messages wait in memory, and it is tried again, also at the start.

    `full` says whether room would help.
    """

    def __init__(self, message: str, *, full: bool = False) -> None:
        super().__init__(message)
        self.full = full


class OutboxInUseError(OutboxError):
    """Another process has the outbox: this one ends with 70, to be started again."""


class CorruptOutboxError(OutboxError):
    """The file of the outbox is damaged: it is set aside, counted and told, and a new one is begun."""

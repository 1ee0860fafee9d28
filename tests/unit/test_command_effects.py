"""What each command does to the cameras and the site, and what it leaves alone."""

import base64
from typing import Any

import cv2
import numpy as np
import pytest
from command_place import DETECT, SOURCE, TRACKER, Kept, Place

from edge_vision import __version__
from edge_vision.analytics.filter import FilterOptions
from edge_vision.analytics.smooth import SmoothOptions
from edge_vision.app.supervisor import Supervisor
from edge_vision.app.tuning import Tuning
from edge_vision.config.site import Camera
from edge_vision.core.commands import Confidence, Enabled, Fetch, Ping, Reload, Snapshot
from edge_vision.core.errors import CommandError, ConfigError
from edge_vision.runtime.systemd import Notifier


@pytest.fixture(name="place")
def _place() -> Place:
    return Place()


def test_a_disabled_camera_analyzes_nothing_and_goes_on_draining(place: Place) -> None:
    """Its frames are counted as skipped, its state is told, and it goes on at once."""
    place.walk()
    place.do("enabled", Enabled(value=False))
    assert place.outcomes == [{"value": False}]
    assert (place.unit.state, place.unit.overrides) == ("disabled", {"enabled": False})
    place.walk()
    place.walk()
    facts = place.unit.facts()
    assert facts["frames"]["analyzed"] == 1
    assert facts["frames"]["skipped"] == 2
    assert facts["overrides"] == {"enabled": False}
    place.do("enabled", Enabled(value=True))
    place.walk()
    facts = place.unit.facts()
    assert (facts["state"], facts["frames"]["analyzed"]) == ("online", 2)
    assert "overrides" not in facts


def test_a_camera_that_is_lost_while_disabled_is_disabled(place: Place) -> None:
    """Somebody works on it: that is why it is disabled. One that is over stays so."""
    place.do("enabled", Enabled(value=False))
    place.unit._source_state = "lost"
    assert place.unit.state == "disabled"
    place.unit._source_state = "failed"
    assert place.unit.state == "failed"
    with pytest.raises(CommandError, match="gate has failed: a reload opens it anew"):
        place.do("enabled", Enabled(value=True))


def test_a_confidence_sets_what_the_pipeline_exposes(place: Place) -> None:
    """The tracker's, in object_counting; null takes the site file's again."""
    place.do("confidence", Confidence(value=0.8))
    assert place.outcomes == [{"value": 0.8, "configured": 0.5}]
    assert place.unit.tuning.stages == (DETECT, TRACKER.model_copy(update={"high": 0.8}))
    assert place.unit.overrides == {"confidence": 0.8}
    place.do("confidence", Confidence(value=None))
    assert place.outcomes[-1] == {"value": 0.5, "configured": 0.5}
    assert place.unit.tuning.stages == (DETECT, TRACKER)
    assert place.unit.overrides == {}


def test_a_confidence_that_does_not_fit_the_stage_changes_nothing(place: Place) -> None:
    """Its own rules hold for commands, too."""
    place.do("confidence", Confidence(value=0.7))
    with pytest.raises(CommandError, match=r"stage tracker: low 0\.1 is more than high 0\.05"):
        place.do("confidence", Confidence(value=0.05))
    assert place.unit.overrides == {"confidence": 0.7}


@pytest.mark.parametrize(
    "stages, sets, reason",
    [
        ((TRACKER,), (), "pipeline p exposes no confidence"),
        (
            (SmoothOptions(kind="smooth", name="z"),),
            ((0, "presence_s"),),
            "stage z takes another presence_s from",
        ),
    ],
    ids=["none", "fixed"],
)
def test_a_pipeline_whose_confidence_cannot_be_set(
    stages: tuple[Any, ...], sets: tuple[tuple[int, str], ...], reason: str
) -> None:
    """The reason says what to do instead."""
    tuning = Tuning(Camera("gate", SOURCE, "p", stages, 0, sets))
    with pytest.raises(CommandError, match=reason):
        tuning.set_confidence(0.5)
    assert (tuning.stages, tuning.confidence) == (stages, None)


def test_several_stages_may_share_a_confidence() -> None:
    """`expose: {confidence: [detect.confidence, filter.min_confidence]}`."""
    stages = (DETECT, FilterOptions(kind="filter"))
    tuning = Tuning(Camera("gate", SOURCE, "p", stages, 0, ((0, "confidence"), (1, "min_confidence"))))
    tuning.set_confidence(0.6)
    assert [tuning.stages[0].confidence, tuning.stages[1].min_confidence] == [0.6, 0.6]


def test_a_snapshot_is_the_next_frame(place: Place) -> None:
    """A JPEG of what the pipeline made of it, no wider than asked for."""
    place.walk(index=3)
    place.do("snapshot", Snapshot(width_px=64))
    assert place.outcomes == []
    place.walk(index=4, wh=(128, 96))
    (told,) = place.outcomes
    assert isinstance(told, dict)
    assert (told["frame"].index, told["frame"].width, told["frame"].height) == (4, 64, 48)
    image = cv2.imdecode(np.frombuffer(base64.b64decode(told["data"]), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (48, 64, 3)
    assert np.abs(image.astype(int) - (10, 200, 30)).max() <= 3
    place.walk(index=5)
    assert len(place.outcomes) == 1


def test_a_snapshot_of_a_camera_without_frames_ends_in_time(place: Place) -> None:
    """After five seconds, with the camera's state."""
    place.unit._source_state = "lost"
    place.do("snapshot", Snapshot())
    place.clock.advance(4.9)
    place.effects.mind()
    assert place.outcomes == []
    place.clock.advance(0.2)
    place.effects.mind()
    assert [str(one) for one in place.outcomes] == ["gate (lost): no frame came within 5 s"]
    assert place.unit._takers == []
    place.walk()
    assert len(place.outcomes) == 1


def test_a_disabled_camera_shows_nothing(place: Place) -> None:
    """What its pipeline would blur must not be seen."""
    place.do("enabled", Enabled(value=False))
    with pytest.raises(CommandError, match="gate is disabled"):
        place.do("snapshot", Snapshot())


def test_a_picture_that_is_too_large_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to ask for instead."""
    monkeypatch.setattr("edge_vision.app.commands_effects.MOST_PICTURE_BYTES", 100)
    place.do("snapshot", Snapshot())
    place.walk()
    assert "ask for a smaller width_px or quality" in str(place.outcomes[0])


def test_few_snapshots_may_wait(place: Place) -> None:
    """Eight; and all hear of the end."""
    for _ in range(8):
        place.do("snapshot", Snapshot())
    with pytest.raises(CommandError, match="busy: 8 snapshots wait"):
        place.do("snapshot", Snapshot())
    place.effects.end()
    assert [str(one) for one in place.outcomes] == ["the site is stopping"] * 8
    assert place.unit._takers == []


def test_evidence_is_given_out_in_parts() -> None:
    """From an offset, at most so much, with the size of the whole."""
    place = Place(Kept())
    place.do("fetch", Fetch(path=Kept.path, offset=90, length=20))
    (told,) = place.outcomes
    assert isinstance(told, dict)
    assert base64.b64decode(told["data"]) == bytes(range(90, 100))
    assert (told["size"], told["offset"], told["path"]) == (100, 90, Kept.path)


@pytest.mark.parametrize("state", ["starting", "lost", "online"])
def test_a_snapshot_that_is_kept_holds_up_no_other_command(state: str) -> None:
    """Whatever its camera does: it is answered when the picture is on the disk, and the others meanwhile."""
    kept = Kept()
    place = Place(kept)
    place.unit._source_state = state
    place.do("snapshot", Snapshot(keep=True))
    place.do("ping", Ping())
    place.turn()
    assert [one.get("version") for one in place.outcomes if isinstance(one, dict)] == [__version__]
    kept.outcome = kept
    place.turn()
    place.turn()
    assert place.outcomes[1:] == [{"path": Kept.path}]


def test_a_snapshot_that_is_not_kept_says_why() -> None:
    """No frame within five seconds, a disk that takes nothing, or the end."""
    kept = Kept()
    place = Place(kept)
    place.unit._source_state = "starting"
    place.do("snapshot", Snapshot(keep=True))
    place.clock.advance(4.9)
    place.turn()
    assert (place.outcomes, kept.asked) == ([], 1)
    place.clock.advance(0.2)
    place.turn()
    assert kept.asked == 0
    place.do("snapshot", Snapshot(keep=True))
    kept.outcome = "No space left on device"
    place.turn()
    kept.outcome = None
    place.do("snapshot", Snapshot(keep=True))
    place.effects.end()
    assert [str(one) for one in place.outcomes] == [
        "gate (starting): no frame came within 5 s",
        "gate: No space left on device",
        "the site is stopping",
    ]


def test_a_picture_that_was_kept_just_before_the_end_is_told() -> None:
    """It is there: whoever asked hears its path, not that the site is stopping."""
    kept = Kept()
    place = Place(kept)
    place.do("snapshot", Snapshot(keep=True))
    kept.outcome = kept
    place.effects.end()
    assert (place.outcomes, kept.asked) == ([{"path": Kept.path}], 1)


def test_without_evidence_there_is_nothing_to_fetch(place: Place) -> None:
    """Nor to keep."""
    for what, payload in (("fetch", Fetch(path=Kept.path)), ("snapshot", Snapshot(keep=True))):
        with pytest.raises(CommandError, match="keeps no evidence"):
            place.do(what, payload)


def test_a_path_is_of_the_camera_that_is_asked() -> None:
    """Who may ask for the files of one camera does not get those of another, even where it is called `clean`."""
    place = Place(Kept())
    others = [
        Kept.path.replace("gate", name) for name in ("dock", "gate-2", "dock.gate")
    ]  # a camera may be called clean
    for path in (*others, "gate", "gate.1"):
        with pytest.raises(CommandError, match="path is not that of a file of gate"):
            place.do("fetch", Fetch(path=path))


def test_ping(place: Place) -> None:
    """State, time since the start, version."""
    place.clock.advance(2.5)
    place.do("ping", Ping())
    assert place.outcomes == [{"state": "online", "uptime_s": 2.5, "version": __version__}]


def test_reload(place: Place) -> None:
    """A wrong file is answered with every mistake; a valid one once."""
    place.reloads = [ConfigError(["site.yaml:3:5: no", "site.yaml:4:1: no"]), None]
    with pytest.raises(CommandError, match="2 mistakes: nothing has changed") as caught:
        place.do("reload", Reload())
    assert vars(caught.value)["problems"] == ["site.yaml:3:5: no", "site.yaml:4:1: no"]
    place.do("reload", Reload())
    assert place.outcomes == [{}]
    with pytest.raises(CommandError, match="under way"):
        place.do("reload", Reload())


def test_what_a_command_changes_is_told_at_once(place: Place) -> None:
    """At the supervisor's next look, and once."""
    told: list[dict[str, Any]] = []
    supervisor = Supervisor(
        [place.unit], [], lambda state, facts: told.append({"state": state, **facts}), Notifier(), place.clock
    )
    for what, payload, overrides in (
        ("confidence", Confidence(value=0.8), {"confidence": 0.8}),
        ("confidence", Confidence(value=0.9), {"confidence": 0.9}),
        ("enabled", Enabled(value=False), {"confidence": 0.9, "enabled": False}),
        ("confidence", Confidence(value=None), {"enabled": False}),
    ):
        supervisor.tick()
        count = len(told)
        place.do(what, payload)
        supervisor.tick()
        supervisor.tick()
        assert len(told) == count + 1
        assert told[-1]["cameras"][0]["overrides"] == overrides
        assert told[-1]["state"] == "online"

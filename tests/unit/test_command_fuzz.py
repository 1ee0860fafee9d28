"""Ten thousand commands that nobody should send, handed to the desk: none is carried out, each is answered."""

import json
from collections import Counter

from command_place import DETECT, TRACKER, Kept, Place
from commanding import ROOT
from malformed_commands import malformed

from edge_vision.core.commands import COMMANDS, Letter, read_topic, why_no_answer_topic

COUNT = 10_000


def test_ten_thousand_malformed_commands_change_nothing() -> None:
    """Every one is refused with a short reason; every valid one between them is carried out and answered once."""
    place = Place(Kept())  # whose file no malformed path may reach
    answers: list[bytes] = []
    reasons: Counter[str] = Counter()

    def take(topic: str, body: bytes, response: str | None = None) -> bytes:
        about = read_topic("test", f"{ROOT}/{topic}")
        assert about is not None, topic
        fault = "" if response is None else why_no_answer_topic("test", response)
        letter = Letter(*about, body, fault)
        place.desk.take(letter, frozenset(COMMANDS), lambda answer, _: answers.append(answer))
        place.turn()
        (answer,) = answers
        answers.clear()
        return answer

    place.desk.carry_out = place.effects.carry_out
    for number, one in enumerate(malformed(COUNT, 7, "gate")):
        answer = json.loads(take(one.topic, one.body, one.response))
        assert answer["ok"] is False, one
        assert 0 < len(answer["reason"]) <= 300
        assert "source" not in answer or answer["source"] == "gate"
        reasons[answer["reason"][:12]] += 1
        assert (place.unit.enabled, place.unit.tuning.stages) == (True, (DETECT, TRACKER)), one
        if number % 20 == 0:
            confidence = 0.2 + number / COUNT / 2
            valid = {"value": confidence, "id": f"v{number}"}
            told = json.loads(take("gate/set/confidence", json.dumps(valid).encode()))
            assert (told["ok"], told["id"], told["value"]) == (True, f"v{number}", confidence)
            assert place.unit.overrides == {"confidence": confidence}
            assert json.loads(take("gate/set/confidence", b'{"value": null}'))["ok"] is True
    assert len(reasons) > 20, reasons

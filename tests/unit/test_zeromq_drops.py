"""What a full queue drops on its way to the ZeroMQ sink is noticed by whoever listens, also when nothing follows it."""

from dataclasses import replace
from pathlib import Path

from zeromq_site import BOOT, Site, make_message, read_until

from edge_vision.app.outlet import Outlet
from edge_vision.publish.zeromq.order import Missed


def test_a_drop_that_nothing_follows_is_in_the_next_heartbeat(tmp_path: Path) -> None:
    """The only reading is pushed out by counts: the reader misses it although no reading comes after it."""
    site = Site(tmp_path, curve=False, replay=False, queue_mb=0.02)
    outlet = Outlet("zeromq", site.options, replace(site.opening, dropped_last=dict))
    with site.read() as reader:
        outlet.worker.start()
        try:
            numbers = iter(range(1, 100_000))
            read_until(reader, lambda _: bool(reader._order._settled), lambda: outlet.put(make_message(next(numbers))))
            for message in (make_message(1, kind="reading"), *(make_message(next(numbers)) for _ in range(5000))):
                outlet.put(message)
            found = read_until(reader, lambda found: any(one.kind == "reading" for one in found))
        finally:
            outlet.end()
            outlet.worker.stop()
            outlet.worker.join(60)
    dropped = outlet.facts()["dropped"]
    if "cam/reading" in dropped:
        assert Missed(BOOT, "cam", "reading", 1, 1) in found
    else:  # the sink was quick enough to take it
        assert any(getattr(one, "seq", 0) == 1 for one in found if one.kind == "reading")

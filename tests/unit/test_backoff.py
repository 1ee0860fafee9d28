"""Checks the waits between attempts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_vision.runtime.backoff import Backoff


@pytest.mark.parametrize("failures, delay_s", [(1, 0.5), (2, 1.0), (3, 2.0), (4, 3.0), (5, 3.0), (1_000_000, 3.0)])
def test_waits_double_up_to_the_most(failures: int, delay_s: float) -> None:
    """Half a second, one, two, then three for ever, also after a million failures."""
    assert Backoff(0.5, 2.0, 3.0, jitter=0.0).delay_s(failures) == delay_s


@given(failures=st.integers(1, 100), jitter=st.floats(0, 0.5), factor=st.floats(1, 4))
def test_the_jitter_stays_within_its_share(failures: int, jitter: float, factor: float) -> None:
    """A wait lies within +-jitter of the plain one."""
    plain = Backoff(0.5, factor, 3.0, 0.0).delay_s(failures)
    delay_s = Backoff(0.5, factor, 3.0, jitter).delay_s(failures)
    assert plain * (1 - jitter) - 1e-9 <= delay_s <= plain * (1 + jitter) + 1e-9


def test_the_jitter_spreads_the_waits() -> None:
    """Fifty cameras that lost the same switch do not knock at the same moment."""
    plain = Backoff(jitter=0.0).delay_s(1)
    delays = {Backoff().delay_s(1) for _ in range(50)}
    assert len(delays) > 25
    assert min(delays) < 0.98 * plain
    assert max(delays) > 1.02 * plain


def test_the_default_starts_soon_and_never_waits_long() -> None:
    """A camera that is back is seen again within seconds: the first wait is short, the longest bounded."""
    plain = Backoff(jitter=0.0)
    assert 0 < plain.delay_s(1) <= plain.delay_s(10) <= 5.0

"""What is told of an error, and what is not told again."""

from edge_vision.runtime.trouble import Trouble


def test_errors_that_alternate_are_told_once_each() -> None:
    """A hundred topics that are refused in turn do not fill the log; different figures make no other error."""
    trouble = Trouble()
    errors = [ValueError(f"topic {letter} of frame {number}") for number in range(9) for letter in "ab"]
    told = [trouble.is_unheard(error) for error in errors]
    assert sum(told) == 2
    assert told[:2] == [True, True]


def test_not_more_errors_are_told_than_anybody_reads() -> None:
    """And no more are remembered."""
    trouble = Trouble()
    assert sum(trouble.is_unheard(ValueError("x" * length)) for length in range(1, 500)) == 64

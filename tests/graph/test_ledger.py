"""The arena: buffers that are alive together do not overlap, and memory is used again."""

import numpy as np
import pytest

from fastconv._engine.ledger import Ledger

LINE = 64


def arranged(lives):
    """Arrange buffers of (bytes, first step, last step); return offsets and the arena's bytes."""
    ledger, last = Ledger(1), max((last for _, _, last in lives), default=0)
    numbers = {}
    for step in range(last + 1):
        ledger.at = step
        for at, (size, first, _) in enumerate(lives):
            if first == step:
                known = ledger.known()
                assert ledger.settle_outputs([], (), [np.empty(size, np.uint8)]) == []
                numbers[at] = known
        ledger.read([numbers[at] for at, (_, first, last) in enumerate(lives)
                     if first <= step <= last])
    offsets, in_arena, results, size = ledger.arrange()
    assert in_arena.all()
    assert results == []
    return [int(offsets[numbers[at]]) for at in range(len(lives))], size


def rounded(size):
    return -(-size // LINE) * LINE


@pytest.mark.parametrize("seed", range(20))
def test_buffers_that_are_alive_together_do_not_overlap(seed):
    rng = np.random.default_rng(seed)
    firsts = np.sort(rng.integers(0, 30, 40))
    lives = [(int(rng.integers(1, 1000)), int(first), int(first + rng.integers(0, 8)))
             for first in firsts]
    offsets, end = arranged(lives)
    for at, (size, first, last) in enumerate(lives):
        assert offsets[at] % LINE == 0
        assert offsets[at] + rounded(size) <= end
        for other, (more, begin, finish) in enumerate(lives[:at]):
            if begin <= last and first <= finish:
                apart = offsets[at] + size <= offsets[other] or offsets[other] + more <= offsets[at]
                assert apart, (at, other)


def test_memory_is_used_again():
    chain = [(1000, step, step + 1) for step in range(10)]
    assert arranged(chain)[1] == 2 * rounded(1000)


def test_the_smallest_free_piece_is_taken():
    lives = [(1024, 0, 0), (64, 0, 3), (128, 0, 0), (64, 0, 3), (100, 1, 3)]
    offsets, end = arranged(lives)
    assert offsets[4] == offsets[2]
    assert end == 1024 + 64 + 128 + 64


def test_neighbours_become_one_piece():
    lives = [(512, 0, 0), (512, 0, 1), (512, 0, 0), (1536, 2, 2)]
    assert arranged(lives)[1] == 1536


def test_values_are_found_in_the_buffers_that_they_lie_in():
    ledger, whole = Ledger(4), np.zeros((4, 6), np.float32)
    ledger.at = 0
    assert ledger.settle_outputs([None, whole, whole[1:, ::2]], (1, 2), [whole]) == [0, 0]
    assert ledger.buffer(2) == 0
    assert ledger.buffer(3) is None
    assert ledger.offset(0, whole[1:, ::2]) == 24
    assert ledger.moving((3, 2, 0, 1)) == [1, 3]
    ledger.forget((1, 2))
    assert ledger.moving((1, 2)) == []


@pytest.mark.parametrize("made", [np.zeros((0, 3)), [1, 2], np.array(["a", None], object)])
def test_what_a_plan_does_not_describe(made):
    assert Ledger(2).settle_outputs([None, made], (1,), []) is None

"""The oracle of these tests agrees with the vectors and definitions that rules §1 gives."""

from __future__ import annotations

from tests.engine import oracle


def test_hash_gives_the_vector_of_the_rules():
    expected = "b6c84657330388bc70864f583a93ac47c54f0e4e8a966b97224a148cd7ebb38d"
    assert oracle.digest("ticket", "slim-demo", 1, 0, "M", "g", 1).hex() == expected


def test_apportion_gives_leftover_units_to_the_largest_remainders_then_to_the_earlier():
    assert oracle.apportion(350, [300, 150, 0]) == [233, 117, 0]
    assert oracle.apportion(5, [5, 5, 0]) == [3, 2, 0]
    assert oracle.apportion(7, [0, 0]) == [0, 0]


def test_pick_stays_below_its_bound():
    assert {oracle.pick(3, "x", i) for i in range(60)} == {0, 1, 2}

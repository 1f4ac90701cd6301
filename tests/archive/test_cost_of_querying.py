"""What a query costs does not grow with the index: as many answers out of a million instances cost what they cost out of ten thousand."""

import statistics
import time

import pytest

from benchmarks.growth import measured as growth


def measured(few, many, level, keys, rounds):
    """Return the numbers of answers of both, and the processor time of each in seconds, the median of the rounds."""
    counts, times = {}, {few.rows: [], many.rows: []}
    for number in range(rounds):
        for index in (few, many) if number % 2 else (many, few):
            began = time.process_time()
            counts[index.rows] = index.ask(level, keys)
            times[index.rows].append(time.process_time() - began)
    return counts, [statistics.median(times[index.rows]) for index in (few, many)]


def compared(folder, sizes, rounds):
    of_few, of_many = (growth.index(folder / f"{rows}", rows, print) for rows in sizes)
    with of_few as few, of_many as many:
        total = [0.0, 0.0]
        for level, keys in growth.QUERIES:
            counts, took = measured(few, many, level, keys, rounds)
            assert counts[few.rows] == counts[many.rows] > 0, (level, keys, counts)
            total = [one + more for one, more in zip(total, took, strict=True)]
        return total


def test_each_query_of_the_measurement_finds_the_same_in_both(tmp_path):
    compared(tmp_path, (5_000, 10_000), 1)


@pytest.mark.load
@pytest.mark.timeout(1800)
def test_a_query_of_a_million_costs_little_more_than_one_of_ten_thousand(tmp_path):
    few, many = compared(tmp_path, (10_000, 1_000_000), 31)
    assert many < 2 * few, "a table was read: that costs a hundred times as much, and other processes never twice"

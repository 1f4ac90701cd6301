"""The benchmark of fetching runs, and puts what it saw side by side in its section."""

from benchmarks.wado.__main__ import CLIENTS, section, taken
from benchmarks.wado.asking import QUESTIONS


def test_it_asks_a_node_everything(tmp_path):
    cells = taken(tmp_path, rounds=1, quick=True)
    assert len(cells) == len(QUESTIONS) * len(CLIENTS)
    assert all(took > 0 for times in cells.values() for took in times)
    assert f"| {QUESTIONS[0].name} | 1 | " in section(cells, 1).markdown()


def test_the_section_has_the_ratio_of_each_round():
    cells = {
        (question.name, clients, server): times
        for question in QUESTIONS
        for clients in CLIENTS
        for server, times in (("hostd", [0.002, 0.004, 0.002]), ("Orthanc", [0.004, 0.004, 0.002]))
    }
    assert (
        f"| {QUESTIONS[0].name} | 4 | **1.00** [1.00 to 2.00] | 2.00 [2.00 to 4.00] | 4.00 [2.00 to 4.00] |"
        in section(cells, 3).markdown()
    )

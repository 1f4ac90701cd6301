"""The benchmark of idle servers runs, and says what it saw in its section."""

from benchmarks.idle.__main__ import section, taken
from benchmarks.idle.standing import HostdWithScripts, Standing, Start
from benchmarks.receive.servers import Hostd


def test_it_starts_a_node_and_looks_at_it():
    (node,) = taken([Hostd], idle_s=1, settling_s=0, starts=1)
    assert node.start_s > 0
    assert node.starts[0].cpu_s > 0.1
    assert node.memory > 10 << 20
    assert "| hostd |" in section([node])


def test_the_section_says_which_targets_are_missed():
    found = Standing(
        HostdWithScripts.name, (Start(1.4, 1.9), Start(1.6, 2.0), Start(1.2, 1.8)), 0.02, 0.8, 5.0, 299 << 20
    )
    text = section([found])
    assert "1.5 s to its first association (reached), 1 % of a core (**missed**)" in text
    assert "every 5 s (reached), 300 MiB (reached)" in text
    assert "| 1.40 [1.20 to 1.60] | 1.80 | 2.00 | 0.8 | 5.0 | 299 |" in text

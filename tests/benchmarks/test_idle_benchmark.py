"""The benchmark of idle servers runs, and says what it saw in its section."""

from benchmarks.idle.__main__ import section, taken
from benchmarks.idle.standing import HostdWithScripts, Standing, Start
from benchmarks.receive.servers import Hostd


def test_it_starts_a_node_and_looks_at_it(tmp_path):
    (node,) = taken([Hostd], tmp_path, idle_s=1, settling_s=0, starts=1)
    assert node.starts[0].wall_s > 0
    assert node.starts[0].cpu_s > 0.1
    assert node.memory[0] > 10 << 20
    assert "| hostd |" in section([node]).markdown()


def test_the_section_says_which_targets_are_missed():
    found = Standing(
        HostdWithScripts.name,
        (Start(1.4, 1.9), Start(1.6, 2.0), Start(1.2, 1.8)),
        (0.02, 0.009),
        (0.8, 0.8),
        5.0,
        (299 << 20, 299 << 20),
    )
    said = section([found])
    assert [target.is_reached for target in said.targets] == [True, False, True, True]
    text = said.markdown()
    assert "| hostd with 10 scripts | 1.40 [1.20 to 1.60] | 1.90 [1.80 to 2.00] |" in text
    assert "| hostd with 10 scripts | 1.45 [0.90 to 2.00] | 0.80 | 5.0 | 299 |" in text

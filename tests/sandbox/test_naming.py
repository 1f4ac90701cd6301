"""What a script's text asks of `host` is looked up before it runs: with file and line, and what was meant."""

import ast
import inspect
import re
import tomllib

import pytest
from sandbox_support import make_load

from hostd.sandbox import api, naming
from hostd.sandbox.run import World

EVERYTHING = [
    "anonymize",
    "delete",
    "filters",
    "http",
    "lossy",
    "modify",
    "query",
    "replace",
    "retrieve",
    "store",
    "tools",
]
NAMES = {
    "known_destinations": ["ai", "archive", "modality:both", "peer:both"], "destinations": ["archive", "modality:both"],
    "tools": ["crop"], "projects": ["TRIAL7"], "channels": ["ops"], "known_channels": ["default", "ops"],
    "targets": ["registry"], "modalities": ["pacs"], "may": EVERYTHING,
}  # fmt: skip


def faults(*lines, **load):
    source = "def on_stored_instance(instance, host):\n" + "".join(f"    {line}\n" for line in lines)
    world = World(make_load(source, **(NAMES | load)))
    return [(one.kind, one.line, one.message) for one in naming.findings(ast.parse(source), world) if one.is_fault]


@pytest.mark.parametrize(
    ("line", "kind", "said"),
    [
        ("host.forward(instance, to='archiv')", "destination", "no destination is called 'archiv'; there are: ai, archive, modality:both, peer:both; did you mean archive?"),
        ("host.forward(instance, 'archiv')", "destination", "did you mean archive?"),
        ("host.forward(instance, to='archive' if instance.size else 'nowhere')", "destination", "no destination is called 'nowhere'"),
        ("host.forward(instance, to=host.config.get('to') or 'archiv')", "destination", "did you mean archive?"),
        ("host.forward(instance, to='ai')", "destination", 'this line of the configuration would allow it: destinations = ["archive", "modality:both", "ai"] under [scripts."x.py"]'),
        ("host.forward(instance, to='archive', syntax='j2kk')", "syntax", "no transfer syntax is called 'j2kk'; did you mean j2k?"),
        ("host.transcode(instance, 'JPEG200')", "syntax", "did you mean JPEG2000?"),
        ("host.redirect(instance, to='archiv')", "destination", "did you mean archive?"),
        ("host.find('study', delivered_to='archiv')", "destination", "did you mean archive?"),
        ("host.delivered_to(instance, 'archiv')", "destination", "did you mean archive?"),
        ("host.run_tool('corp', instance)", "tool", "no tool is called 'corp'; there are: crop; did you mean crop?"),
        ("host.anonymize(instance, project='TRIAL')", "project", "no project is called 'TRIAL'; there are: TRIAL7; did you mean TRIAL7?"),
        ("host.notify('opps', 'x')", "channel", "no channel is called 'opps'; there are: default, ops; did you mean ops?"),
        ("host.notify('default', 'x')", "channel", 'this line of the configuration would allow it: channels = ["ops", "default"] under [scripts."x.py"]'),
        ("host.http_get('registri', 'x')", "target", "did you mean registry?"),
        ("host.post('registri', 'x', {})", "target", "did you mean registry?"),
        ("host.put(target='registri', path='x', json={})", "target", "did you mean registry?"),
        ("host.query('pac', 'study')", "modality", "no modality is called 'pac'; there are: pacs; did you mean pacs?"),
        ("host.retrieve(modality='pac', study='1.2')", "modality", "did you mean pacs?"),
        ("RestApiPost('/modalities/pac/query', '{}')", "modality", "did you mean pacs?"),
        ("host.forward(instance, destnation='archive')", "argument", "host.forward has no 'destnation'; there are: x, to, priority"),
        ("host.forward(instance, to='archive', priorty='stat')", "argument", "host.forward has no 'priorty'; did you mean priority?"),
        ("host.forwrad(instance, to='archive')", "argument", "host has no forwrad; did you mean forward?"),
        ("SendToModality(instance.id, 'archiv')", "destination", "did you mean archive?"),
        ("SendToPeer(instance.id, 'arch' + 'iv')", "destination", "did you mean archive?"),
        ("RestApiPost('/modalities/archiv/store', instance.id)", "destination", "did you mean archive?"),
        ("RestApiPost('/peers/both/store', instance.id)", "destination", "this script may not send to 'peer:both'"),
        ("CallSystem(instance.id, '/usr/bin/corp', [])", "tool", "did you mean crop?"),
        ("HttpPost('registri/doses', '{}')", "target", "did you mean registry?"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_named_with_its_line_and_what_was_meant(line, kind, said):
    (found,) = faults("pass", line)
    assert found[:2] == (kind, 3)
    assert said in found[2]


@pytest.mark.parametrize(
    "line",
    [
        "host.forward(instance, to='archive', syntax='j2k', priority='stat')",
        "host.forward(instance, to=instance.tags.StationName)",
        "host.forward(*instance, 'nowhere')",
        "host.forward(instance, **{'to': 'nowhere'})",
        "host.find('study', PatientID='1', Modality='CT', delivered_to='ai', label='anything')",
        "host.delivered_to(instance, 'ai')",
        "host.transcode(instance, 'J2K')",
        "host.run_tool('crop', instance, ['x'])",
        "host.anonymize(instance, 'TRIAL7')",
        "host.notify('ops', 'x', key='k', at_most_every=3600)",
        "host.http_get('registry', 'x').json()",
        "host.config['to'].find('x')",
        "host.state.setdefault('a', {})",
        "instance.put('nowhere', 'x', {})",
        "'a text'.find('b')",
        "SendToModality(instance.id, 'both')",
        "HttpGet('registry/' + instance.id)",
        "host.discard(instance)",
    ],
)
def test_what_is_there_is_not_reported(line):
    assert faults(line) == []


def test_host_is_known_by_the_name_that_a_handler_gives_it():
    source = "def on_start(h):\n    h.notify('opps', 'x')\ndef other(x):\n    x.notify('opps', 'x')\n"
    found = naming.findings(ast.parse(source), World(make_load(source, **NAMES)))
    assert [(one.kind, one.line) for one in found] == [("channel", 2)]


@pytest.mark.parametrize("verb", naming.NEEDS)
def test_a_verb_that_the_script_may_not_use_names_the_line_that_would_allow_it(verb):
    found = faults(f"host.{verb}()", may=["lossy"])
    line = f'may = ["lossy", "{naming.NEEDS[verb]}"] under [scripts."x.py"]'
    assert found == [
        ("not_allowed", 2, f"this script may not {verb}; this line of the configuration would allow it: {line}")
    ]


def test_what_would_allow_it_is_toml_as_it_is_pasted():
    line, header = World(make_load("", **NAMES)).config_line("may", ["lossy", "delete"]).split(" under ")
    assert tomllib.loads(f"{header}\n{line}\n") == {"scripts": {"x.py": {"may": ["lossy", "delete"]}}}


def verbs():
    return [name for name, member in inspect.getmembers(api.Host, callable) if not name.startswith("_")]


def test_every_verb_that_needs_a_capability_is_in_the_table():
    # What `discard` and `transcode` need depends on what they are asked, or in which function.
    for verb in set(verbs()) - {"discard", "http_get", "post", "put"}:
        needs = re.findall(r'_need\("(\w+)"\)', inspect.getsource(getattr(api.Host, verb)))
        assert needs == ([naming.NEEDS[verb]] if verb in naming.NEEDS else [])


def test_every_parameter_that_takes_a_name_of_the_configuration_is_in_the_table():
    takes_names = {"to", "destination", "delivered_to", "project", "channel", "target", "modality", "syntax"}
    for verb in verbs():
        wanted = takes_names & set(inspect.signature(getattr(api.Host, verb)).parameters)
        assert wanted <= set(naming.NAMED.get(verb, ())), verb

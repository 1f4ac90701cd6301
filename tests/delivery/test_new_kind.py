"""A new kind of destination is one file, and a section of the configuration: nothing else needs to know of it."""

import sys
from importlib import import_module

import pytest
from pydantic import Field

from hostd.config.settings import Settings
from hostd.config.values import DestinationName
from hostd.delivery import destinations
from hostd.delivery.configured import destinations_of, terms_of
from hostd.errors import ConfigurationError, NotFoundError

FILE = '''
from typing import ClassVar

from hostd.config.credentials import Credentials
from hostd.config.forwarding import Forwarding
from hostd.delivery.destinations import Answer


class SECTION(Credentials, Forwarding):
    """By pigeon."""

    KIND: ClassVar[str] = "pigeon"
    loft: str
    timeout_s: float = 1.0


class Pigeon:
    is_open = True

    def __init__(self, name, loft):
        self.name, self.loft, self.carried = f"pigeon:{name}", loft, []

    def connect(self, batch):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def takes(self, outgoing):
        return True

    def send(self, outgoing):
        self.carried.append(outgoing.as_wanted().path.read_bytes())
        return Answer("delivered", "it has come home")


def configured(name, section):
    return Pigeon(name, section.loft)
'''


@pytest.fixture
def settings_with_pigeons(tmp_path, monkeypatch):
    (tmp_path / "kinds").mkdir()
    (tmp_path / "kinds" / "pigeon.py").write_text(FILE)
    monkeypatch.setattr(destinations, "__path__", [*destinations.__path__, str(tmp_path / "kinds")])
    name = f"{destinations.__name__}.pigeon"
    section = import_module(name).SECTION

    class WithPigeons(Settings):
        pigeons: dict[DestinationName, section] = Field(default={}, description="Pigeons.")

    yield WithPigeons
    del sys.modules[name]
    del destinations.pigeon


def test_a_new_kind_of_destination_is_one_file_and_its_section(node, settings_with_pigeons, tmp_path):
    settings = settings_with_pigeons(
        pigeons={"home": {"loft": "roof", "connections": 2, "alternate": "export"}},
        folders={"export": {"path": str(tmp_path)}},
        delivery={"timeout_s": 7.0},
    )
    assert settings.destination_names() == ("export", "home")
    assert settings.resolve_destination("home") == ("pigeon", "home")
    assert settings.pigeons["home"].timeout_s == 7.0
    assert terms_of(settings)["pigeon:home"].alternate == "folder:export"
    assert terms_of(settings)["pigeon:home"].connections == 2
    pigeon = destinations_of(settings)["pigeon:home"]
    number = node.ask("pigeon:home")
    node.couriers(pigeon, terms=terms_of(settings)["pigeon:home"])
    node.until_state(number, "delivered")
    assert (pigeon.loft, len(pigeon.carried)) == ("roof", 1)
    with pytest.raises(NotFoundError, match=r"\[pigeons.NAME\]"):
        settings_with_pigeons().resolve_destination("home")
    both = settings_with_pigeons(pigeons={"home": {"loft": "x"}}, folders={"home": {"path": str(tmp_path)}})
    with pytest.raises(ConfigurationError, match="'folder:home' or 'pigeon:home'"):
        both.resolve_destination("home")

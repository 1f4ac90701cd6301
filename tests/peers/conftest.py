import pytest
from peer_kit import LiveNode, Orthanc, StoreScp


@pytest.fixture
def start(request, tmp_path):
    """Start a node, an Orthanc or a storescp that ends with the test."""

    def node(name="node", **facts):
        made = LiveNode(tmp_path / name, **facts)
        request.addfinalizer(made.stop)
        return made

    def orthanc(name="orthanc", *, started=True, **facts):
        made = Orthanc(tmp_path / name, **facts)
        request.addfinalizer(made.stop)
        return made.start() if started else made

    def storescp(*options, name="storescp"):
        made = StoreScp(tmp_path / name, *options).start()
        request.addfinalizer(made.stop)
        return made

    return type(
        "Start", (), {"node": staticmethod(node), "orthanc": staticmethod(orthanc), "storescp": staticmethod(storescp)}
    )

"""DCMTK's tools over TLS, each with a certificate of its own and without, as `dicom.client_ca_file` has it; and with small PDUs.

DCMTK's movescu and getscu speak no TLS: theirs goes through a tunnel, as it does for whoever uses them so.
"""

import asyncio
import contextlib
import socket
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from certificates import Certificates, needs_openssl
from peer_kit import PATIENCE_S, needs, sample
from pydicom import dcmread

from hostd.dimse import scu

pytestmark = [
    pytest.mark.peers, needs_openssl, needs("echoscu", "storescu", "findscu", "movescu", "getscu", "storescp")
]  # fmt: skip

ASKER = '[modalities.asker]\naet = "ASKER"\nhost = "127.0.0.1"\nport = 104\n'
IMAGES = ("CT_small.dcm", "examples_rgb_color.dcm")


class Tunnel:
    """Takes plain connections and passes what comes on over TLS, both ways.

    All in one thread: of a TLS connection that one thread reads while another writes, one in fifteen loses what was sent.
    """

    def __init__(self, port, certificates, *, is_shown):
        self._context = ssl.create_default_context(cafile=certificates.ca)
        if is_shown:
            self._context.load_cert_chain(*certificates.client)
        self._to = port
        plain = socket.create_server(("127.0.0.1", 0))
        self.port = plain.getsockname()[1]
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()
        self._closed = asyncio.Event()
        self._connections = set()  # the loop itself holds no task
        self._thread = threading.Thread(target=self._run, args=(plain,), daemon=True)
        self._thread.start()

    def _run(self, plain):
        with self._runner:
            self._runner.run(self._serve(plain))

    async def _serve(self, plain):
        server = await asyncio.start_server(self._connect, sock=plain)
        await self._closed.wait()
        server.close()

    async def _connect(self, from_tool, to_tool):
        self._connections.add(asyncio.current_task())
        with contextlib.closing(to_tool), contextlib.suppress(OSError):
            from_node, to_node = await asyncio.open_connection("127.0.0.1", self._to, ssl=self._context)
            await asyncio.gather(_pump(from_tool, to_node), _pump(from_node, to_tool))

    def close(self):
        self._loop.call_soon_threadsafe(self._closed.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


async def _pump(one, other):
    with contextlib.closing(other):
        while piece := await one.read(65536):
            other.write(piece)
            await other.drain()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("tls") / "certificates")


@pytest.fixture(params=[True, False], ids=["both show one", "only hostd shows one"])
def shown(request):
    return request.param


@pytest.fixture
def archive(start, certificates):
    return start.storescp("+tls", str(certificates.server[1]), str(certificates.server[0]), "+cf", str(certificates.ca))


@pytest.fixture
def node(start, certificates, archive, shown):
    """A node that speaks TLS on a port of its own, and wants a certificate where the tools show one."""
    certificate, key = certificates.server
    client, client_key = certificates.client
    wants = f'client_ca_file = "{certificates.ca}"' if shown else ""
    return start.node(
        dicom=f'tls_port = 0\ncertificate_file = "{certificate}"\nkey_file = "{key}"\n{wants}',
        more=f"""{ASKER}
[modalities.archive]
aet = "ARCHIVE"
host = "127.0.0.1"
port = {archive.port}
tls = true
ca_file = "{certificates.ca}"
client_certificate_file = "{client}"
client_key_file = "{client_key}"
""",
    )


@pytest.fixture
def tunnel(node, certificates, shown):
    made = Tunnel(node.node.dicom.tls_port, certificates, is_shown=shown)
    yield made
    made.close()


@pytest.fixture
def run(node, certificates, shown, tunnel):
    """Run a tool of DCMTK's over TLS; return its exit code and what it wrote."""

    def run(tool, *arguments, is_shown=shown, pdu=4096):
        options = ["-v", "-d", "-pdu", pdu, "-aet", "ASKER", "-aec", "HOSTD"]
        if tool in {"movescu", "getscu"}:
            port, tls = tunnel.port, []
        else:
            port = node.node.dicom.tls_port
            certificate, key = certificates.client
            tls = ["+tls", key, certificate] if is_shown else ["+tla"]
            tls += ["+cf", certificates.ca]
        ended = subprocess.run(
            [tool, *map(str, (*options, *tls)), "127.0.0.1", str(port), *map(str, arguments)],
            capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        return ended.returncode, ended.stdout + ended.stderr

    return run


def uids(name):
    header = dcmread(sample(name), stop_before_pixels=True)
    return header.StudyInstanceUID, header.SOPInstanceUID


def arrived(folder):
    return {dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in folder.iterdir()}


def test_many_associations_at_once_lose_nothing_on_their_way_through_the_tunnel(tunnel):
    def echo(_):
        contexts = [(scu.VERIFICATION, ("1.2.840.10008.1.2",))]
        options = {"calling_aet": "ASKER", "called_aet": "HOSTD", "contexts": contexts, "timeout_s": PATIENCE_S}
        with scu.connect("127.0.0.1", tunnel.port, **options) as association:
            return association.echo()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(echo, range(100))) == [0] * 100


def test_each_tool_does_over_tls_what_it_does_without(run, archive, tmp_path):
    assert run("echoscu")[0] == 0
    for name in IMAGES:
        code, said = run("storescu", sample(name))
        assert code == 0, said
    for name in IMAGES:
        study, instance = uids(name)
        keys = ("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}")
        code, said = run("findscu", *keys, "-k", "NumberOfStudyRelatedInstances")
        assert code == 0, said
        assert "Received Find Response 1" in said, said
        assert "[1 ]" in said, said
        folder = tmp_path / name
        folder.mkdir()
        code, said = run("getscu", *keys, "-od", folder)
        assert code == 0, said
        assert arrived(folder) == {instance}
        code, said = run("movescu", *keys, "-aem", "ARCHIVE")
        assert code == 0, said
    assert arrived(archive.folder) == {uids(name)[1] for name in IMAGES}


@pytest.mark.parametrize("shown", [True], indirect=True)
def test_who_shows_no_certificate_where_one_is_wanted_gets_nothing(run, node, certificates):
    for tool, *arguments in (("echoscu",), ("storescu", sample("CT_small.dcm"))):
        code, _ = run(tool, *arguments, is_shown=False)
        assert code != 0
    assert node.instances() == []
    stranger = Tunnel(node.node.dicom.tls_port, certificates, is_shown=False)
    try:
        ended = subprocess.run(
            ["getscu", "-S", "127.0.0.1", str(stranger.port), "-k", "QueryRetrieveLevel=STUDY"],
            capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert ended.returncode != 0
    finally:
        stranger.close()
    assert run("echoscu")[0] == 0


def test_what_is_wanted_over_tls_is_not_had_without(node):
    port = str(node.node.dicom.tls_port)
    for tool in ("echoscu", "findscu"):
        more = ["-S", "-k", "QueryRetrieveLevel=STUDY"] if tool == "findscu" else []
        ended = subprocess.run(
            [tool, "-to", "5", "-ta", "5", "127.0.0.1", port, *more],
            capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert ended.returncode != 0, (tool, ended.stderr)

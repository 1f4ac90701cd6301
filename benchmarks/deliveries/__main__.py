"""`python -m benchmarks.deliveries [--instances N] [--rounds N] [--write]`: instances and MB a second to a DCMTK storescp and to an Orthanc peer.

Every way of sending takes its turn in each round; the median counts. hostd's figures include its records: a row and an fsync an answer.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import requests
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from benchmarks.document import PAGE, write_section
from hostd.archive import deliveries, instances
from hostd.archive.archive import Archive
from hostd.archive.records import Instance, Origin
from hostd.clock import SystemClock
from hostd.config.sections import Peer as PeerSettings
from hostd.config.settings import Settings
from hostd.delivery.configured import destinations_of
from hostd.delivery.couriers import Couriers
from hostd.delivery.destinations import Destination
from hostd.delivery.destinations.modality import Modality
from hostd.delivery.retry import RetryPolicy
from hostd.delivery.terms import Terms
from hostd.intake.intake import Intake
from hostd.transcoding.pool import CodecPool
from hostd.transcoding.products import Products

_SIDE = 512
_PATIENCE_S = 300.0
_LUA = "function OnStoredInstance(id, tags, metadata, origin)\n  SendToModality(id, 'scp')\nend\n"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _made(seed: int) -> bytes:
    """Return a CT image of half a megabyte, unlike any other."""
    data_set = Dataset()
    data_set.SOPClassUID, data_set.SOPInstanceUID = CTImageStorage, generate_uid()
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = generate_uid(), generate_uid()
    data_set.PatientID, data_set.Modality, data_set.InstanceNumber = "BENCHMARK", "CT", seed
    data_set.Rows = data_set.Columns = _SIDE
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit, data_set.PixelRepresentation = 16, 12, 11, 0
    pixels = np.random.default_rng(seed).integers(0, 4096, (_SIDE, _SIDE), dtype=np.uint16)
    data_set.PixelData = pixels.tobytes()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    written = DicomBytesIO()
    data_set.save_as(written, enforce_file_format=True)
    return bytes(written.getvalue())


@contextmanager
def _process(command: list[str], port: int) -> Iterator[None]:
    """Run a server until the end of the block, once it listens."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"{command[0]} does not listen on port {port}") from None
                time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def _orthanc(folder: Path, scp_port: int, peer_port: int | None, lua: str | None = None) -> Iterator[str]:
    """Run an Orthanc that knows the storescp as `scp` and another Orthanc as `peer`; give its root."""
    folder.mkdir()
    port = _free_port()
    configuration: dict[str, object] = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomModalities": {"scp": ["ANY", "127.0.0.1", scp_port]},
        "OrthancPeers": {"peer": [f"http://127.0.0.1:{peer_port}/"]} if peer_port else {},
        "Plugins": [],
    }
    if lua is not None:
        (folder / "route.lua").write_text(lua)
        configuration["LuaScripts"] = [str(folder / "route.lua")]
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    with _process(["Orthanc", str(folder / "orthanc.json")], port):
        yield f"http://127.0.0.1:{port}/"


def _count(url: str) -> int:
    statistics_of = requests.get(f"{url}statistics", timeout=30).json()
    return int(statistics_of["CountInstances"])


def _until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not what():
        if time.monotonic() > end:
            raise RuntimeError("what was sent does not arrive")
        time.sleep(0.01)


class _Hostd:
    """hostd's couriers over an archive that holds the instances."""

    def __init__(self, folder: Path, files: list[bytes]) -> None:
        folder.mkdir(mode=0o700)
        self.archive = Archive(folder, "benchmark", SystemClock())
        self.pool = CodecPool(workers=1)
        intake = Intake(self.archive, on_conflict="newest", name_sender=lambda _origin: None)
        self.held = [self._receive(intake, file) for file in files]

    def _receive(self, intake: Intake, file: bytes) -> Instance:
        reception = intake.receive_file(origin=Origin("http"))
        reception.write(file)
        received = reception.finish()
        with self.archive.read() as connection:
            held = instances.get(connection, received.instance)
        assert held is not None
        return held

    def send(self, destination: Destination, connections: int) -> float:
        """Send all; return the seconds until the last is recorded as delivered."""
        now = time.time()
        for one in self.held:
            self.archive.writer.do(
                lambda c, one=one: deliveries.ask(  # type: ignore[misc]  # a default is how a loop's value is kept
                    c, instance=one.id, sop_instance_uid=one.sop_instance_uid, sop_class_uid=one.sop_class_uid,
                    destination=destination.name, content=one.received_sha256, blob=one.blob.name, now=now,
                )
            )  # fmt: skip
        terms = Terms(batch=100, connections=connections)
        couriers = Couriers(
            self.archive, {destination.name: destination}, Products(self.archive, self.pool), RetryPolicy(),
            SystemClock(), "benchmark", {destination.name: terms},
        )  # fmt: skip
        began = time.monotonic()
        couriers.start()
        _until(lambda: self._is_done(destination.name))
        seconds = time.monotonic() - began
        couriers.stop(10)
        return seconds

    def _is_done(self, destination: str) -> bool:
        with self.archive.read() as connection:
            states = (
                deliveries.counts(connection)[destination] if not deliveries.next_due(connection, destination) else {}
            )
        return set(states) == {"delivered"}

    def close(self) -> None:
        self.pool.close()
        self.archive.close()


def _round(files: list[bytes]) -> dict[str, float]:
    """Have each way of sending take its turn; return the seconds of each."""
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as made:
        folder, scp_port = Path(made), _free_port()
        received = folder / "scp"
        received.mkdir()
        storescp = ["storescp", "--fork", "--unique-filenames", "+xa", "-od", str(received), str(scp_port)]

        def arrived(count: int) -> bool:
            return sum(1 for _ in received.iterdir()) >= count

        def store(url: str, route: str, ids: list[str]) -> float:
            began = time.monotonic()
            requests.post(
                f"{url}{route}", json={"Resources": ids, "Synchronous": True}, timeout=_PATIENCE_S
            ).raise_for_status()
            return time.monotonic() - began

        with _process(storescp, scp_port):
            hostd = _Hostd(folder / "hostd", files)
            modality = Modality("scp", aet="ANY", host="127.0.0.1", port=scp_port, calling_aet="BENCHMARK")
            with _orthanc(folder / "target", scp_port, None) as target:
                url = PeerSettings(url=target)
                peer = destinations_of(Settings(peers={"peer": url}))["peer:peer"]
                seconds["hostd, C-STORE, 1 connection"] = hostd.send(modality, 1)
                seconds["hostd, C-STORE, 4 connections"] = hostd.send(modality, 4)
                seconds["hostd, Orthanc peer, 1 connection"] = hostd.send(peer, 1)
            with (
                _orthanc(folder / "target2", scp_port, None) as target,
                _orthanc(folder / "source", scp_port, int(target.split(":")[2].rstrip("/"))) as source,
            ):
                ids = [requests.post(f"{source}instances", data=file, timeout=60).json()["ID"] for file in files]
                seconds["Orthanc, /modalities/{id}/store"] = store(source, "modalities/scp/store", ids)
                seconds["Orthanc, /peers/{id}/store"] = store(source, "peers/peer/store", ids)
                assert _count(target) == len(files)
            with _orthanc(folder / "router", scp_port, None, _LUA) as router:
                before = sum(1 for _ in received.iterdir())
                began = time.monotonic()
                for file in files:
                    requests.post(f"{router}instances", data=file, timeout=60).raise_for_status()
                _until(lambda: arrived(before + len(files)))
                seconds["Orthanc, Lua autorouting (with its reception)"] = time.monotonic() - began
            hostd.close()
    return seconds


def main() -> None:
    """Measure, print, and with `--write` write the section of docs/performance.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deliveries")
    parser.add_argument("--instances", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    for program in ("storescp", "Orthanc"):
        if shutil.which(program) is None:
            parser.error(f"{program} is not on the PATH")
    files = [_made(seed) for seed in range(options.instances)]
    rounds = [_round(files) for _ in range(options.rounds)]
    megabytes = sum(map(len, files)) / (1 << 20)
    about = (
        f"`python -m benchmarks.deliveries`: {options.instances} CT images of {len(files[0]) / (1 << 20):.2f} MiB, the median of "
        f"{options.rounds} rounds on this machine. hostd's figures include the record of every answer, on stable storage."
    )
    lines = [
        "## Deliveries",
        "",
        about,
        "",
        "| way | instances/s | MiB/s |",
        "|---|---|---|",
    ]
    for way in rounds[0]:
        seconds = statistics.median(measured[way] for measured in rounds)
        lines.append(f"| {way} | {options.instances / seconds:.0f} | {megabytes / seconds:.0f} |")
    text = "\n".join(lines)
    print(text)  # noqa: T201 - what the command is for
    if options.write:
        write_section(PAGE, "deliveries", text)


if __name__ == "__main__":
    main()

"""`hostd demo`: the main job on real images, with two nodes on this machine."""

from __future__ import annotations

import json
import shutil
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydicom.data import get_testdata_file
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from hostd.archive import deliveries, instances, receipts
from hostd.archive.records import Delivery, Instance
from hostd.cli import log
from hostd.cli.signals import on_stop_signal
from hostd.config.settings import Settings, load
from hostd.dicom import syntaxes
from hostd.dicom.header import Header, read_header
from hostd.dicom.part10 import data_set_offset
from hostd.dicom.statuses import category, describe
from hostd.dimse import scu
from hostd.errors import HostdError, TranscodeError
from hostd.transcoding.pool import CodecPool

if TYPE_CHECKING:
    from hostd.node import Node

IMAGES = (
    "CT_small.dcm",
    "MR_small_implicit.dcm",
    "examples_overlay.dcm",
    "examples_rgb_color.dcm",
    "examples_palette.dcm",
    "examples_jpeg2k.dcm",  # compressed already
    "examples_ybr_color.dcm",  # so is this, with loss, 30 frames
    "test-SR.dcm",  # no pixels
    "liver_1frame.dcm",  # 1 bit a pixel
    "rtdose.dcm",  # 32 bits a pixel: cannot be compressed
)
"""pydicom's own test files."""

_PATIENCE_S = 120.0
_SCRIPT = "compress.py"


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one file. Sizes are in bytes, `seconds` from its reception to its arrival."""

    file: str
    modality: str
    received: str
    archived: str
    bytes_before: int
    bytes_after: int
    pixels: str
    destination: str
    seconds: float
    reason: str


def demo(
    folder: Annotated[Path, typer.Option(help="Where to put the nodes; another name is used when it is taken.")] = Path(
        "hostd-demo"
    ),
    serve: Annotated[bool, typer.Option("--serve", help="Leave the nodes running, and say what to try next.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Send real images through a node that compresses them to an archive; show what arrived."""
    from hostd.node import Node  # noqa: PLC0415 - see `run`

    console = Console(stderr=as_json, highlight=False)
    log.configure("text", "warning")
    place = _free_folder(folder, console)
    receiving, archive = _configure(place, console)
    nodes = [Node(archive), Node(receiving)]
    try:
        for node in nodes:
            node.start()
        rows = _send_and_follow(nodes[1], nodes[0], console)
        if as_json:
            typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
        else:
            _print(rows, console)
        console.print(f"\nreceived files: {place / 'hostd' / 'blobs'}\narchived files: {place / 'archive' / 'blobs'}")
        if any(row.pixels == "DIFFERENT" for row in rows) or len(rows) < len(IMAGES):
            raise typer.Exit(1)
        if serve:
            _serve(nodes[1], place, console)
    finally:
        for node in reversed(nodes):
            node.stop()


# -- setting up -------------------------------------------------------------------------------------------------------


def _free_folder(wanted: Path, console: Console) -> Path:
    place = wanted.absolute()
    number = 1
    while place.exists():
        number += 1
        place = wanted.absolute().with_name(f"{wanted.name}-{number}")
    if number > 1:
        console.print(f"{wanted} is there already; using {place.name}")
    place.mkdir(parents=True, mode=0o700)
    return place


def _configure(place: Path, console: Console) -> tuple[Settings, Settings]:
    """Write two configurations and the script, as a user would, and load them."""
    ports = _free_ports({"dicom": 4242, "http": 8042, "archive dicom": 4243, "archive http": 8043}, console)
    (place / "scripts").mkdir(mode=0o700)
    (place / "archive-scripts").mkdir(mode=0o700)
    shutil.copyfile(_sample(_SCRIPT), place / "scripts" / _SCRIPT)
    receiving = place / "hostd.toml"
    receiving.write_text(
        f"""[node]
name = "hostd"
data = "./hostd"
scripts = "./scripts"

[dicom]
port = {ports["dicom"]}

[http]
port = {ports["http"]}

[modalities.archive]
aet = "ARCHIVE"
host = "127.0.0.1"
port = {ports["archive dicom"]}
"""
    )
    archive = place / "archive.toml"
    archive.write_text(
        f"""[node]
name = "archive"
data = "./archive"
scripts = "./archive-scripts"

[dicom]
port = {ports["archive dicom"]}
aets = ["ARCHIVE"]

[http]
port = {ports["archive http"]}
"""
    )
    for file in (receiving, archive):
        file.chmod(0o600)
    return load(receiving), load(archive)


def _free_ports(wanted: dict[str, int], console: Console) -> dict[str, int]:
    """Return the wanted ports, or free ones in place of those that are taken."""
    given: dict[str, int] = {}
    held = []
    for name, port in wanted.items():
        try:
            held.append(socket.create_server(("127.0.0.1", port)))
        except OSError:
            held.append(socket.create_server(("127.0.0.1", 0)))
            console.print(f"port {port} is taken; {name} uses {held[-1].getsockname()[1]}")
        given[name] = held[-1].getsockname()[1]
    for listener in held:
        listener.close()
    return given


def _sample(name: str) -> Path:
    """Return the sample script: in an installed hostd inside the package, in a checkout beside it."""
    package = Path(__file__).parent.parent
    for samples in (package / "_samples", package.parent / "samples"):
        if (found := samples / "jpeg2000-compression" / name).exists():
            return found
    raise HostdError(f"the sample {name} is not part of this installation; install hostd again")


# -- running ----------------------------------------------------------------------------------------------------------


def _send_and_follow(node: Node, archive: Node, console: Console) -> list[Row]:
    """Send the images, wait until each has arrived, and compare."""
    files = [Path(str(get_testdata_file(name, download=False))) for name in IMAGES]
    with Progress(console=console) as progress:
        sending = progress.add_task("sending to hostd", total=len(files))
        headers = []
        for file in files:
            headers.append(_send(node, file))
            progress.advance(sending)
        arriving = progress.add_task("arriving in the archive", total=len(files))
        done = _wait(node, headers, lambda count: progress.update(arriving, completed=count))
        comparing = progress.add_task("comparing pixels", total=len(files))
        rows = []
        pool = CodecPool(workers=1)
        try:
            for file, header in zip(files, headers, strict=True):
                rows.append(_compare(file, header, done[header.identity.instance], archive, node, pool))
                progress.advance(comparing)
        finally:
            pool.close()
    return rows


def _send(node: Node, file: Path) -> Header:
    assert node.dicom is not None
    with file.open("rb") as opened:
        start = data_set_offset(opened)
        size = file.stat().st_size
        header = read_header(opened, offset=start.offset, transfer_syntax=start.transfer_syntax_uid, size=size)
        opened.seek(start.offset)
        contexts = [(header.sop_class_uid, [header.transfer_syntax])]
        with scu.connect(
            "127.0.0.1", node.dicom.port, calling_aet="DEMO", called_aet="HOSTD", contexts=contexts
        ) as association:
            answer = association.store(
                header.sop_class_uid, header.sop_instance_uid, header.transfer_syntax, opened, size - start.offset
            )
    if category(answer.status) != "success":
        raise HostdError(f"{file.name} was not taken: {describe(answer.status)} {answer.comment}")
    return header


def _wait(node: Node, headers: list[Header], tell: Any) -> dict[str, Delivery]:
    """Wait until the deliveries of all instances have ended; return them by instance."""
    wanted = {header.identity.instance for header in headers}
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        seen = node.archive.bulletin.seen("event")
        with node.archive.read() as connection:
            ended = deliveries.listing(connection, states=("delivered", "warning", "failed"), limit=1000)
        done = {delivery.instance: delivery for delivery in ended}
        tell(len(done))
        if wanted <= done.keys():
            return done
        if time.monotonic() > deadline:
            raise HostdError(f"only {len(done)} of {len(wanted)} images arrived within {_PATIENCE_S:.0f} s")
        node.archive.bulletin.wait("event", seen, 1.0)


def _compare(file: Path, header: Header, delivery: Delivery, archive: Node, node: Node, pool: CodecPool) -> Row:
    with archive.archive.read() as connection:
        arrived = instances.get(connection, header.identity.instance)
    with node.archive.read() as connection:
        received = instances.get(connection, header.identity.instance)
        receipt = receipts.find(connection, delivery.blob, delivery.transform)
    assert received is not None
    kept = receipt is not None and receipt.outcome == "kept original"
    return Row(
        file=file.name,
        modality=header.text(0x00080060),
        received=syntaxes.by_uid(header.transfer_syntax).name,
        archived=syntaxes.by_uid(arrived.blob.transfer_syntax).name if arrived else "-",
        bytes_before=file.stat().st_size,
        bytes_after=arrived.blob.size if arrived else 0,
        pixels=_verdict(file, header, arrived, archive, pool) if arrived else "not there",
        destination=delivery.destination
        if delivery.state == "delivered"
        else f"{delivery.destination}: {delivery.state}",
        seconds=round((delivery.finished_at or 0) - received.received_at, 3),
        reason=delivery.last_error or (str(receipt.facts["reason"]) if receipt and kept else ""),
    )


def _verdict(file: Path, header: Header, arrived: Instance, archive: Node, pool: CodecPool) -> str:
    stored = archive.archive.blobs.path(arrived.blob.name)
    if _data_set(file) == _data_set(stored):
        return "same bytes" if header.has_pixels else "none (same bytes)"
    if not header.has_pixels:
        return "none"
    try:
        return "identical" if pool.pixel_hash(file) == pool.pixel_hash(stored) else "DIFFERENT"
    except TranscodeError as error:
        return f"not compared: {error}"


def _data_set(file: Path) -> bytes:
    with file.open("rb") as opened:
        opened.seek(data_set_offset(opened).offset)
        return opened.read()


# -- showing ----------------------------------------------------------------------------------------------------------


def _print(rows: list[Row], console: Console) -> None:
    table = Table(title="sent to hostd, archived by DICOM", box=None, header_style="bold")
    for name in ("file", "modality", "received in", "archived in", "before", "after", "pixels", "went to", "took"):
        table.add_column(name, justify="right" if name in {"before", "after", "took"} else "left", overflow="fold")
    for row in rows:
        table.add_row(
            row.file, row.modality, row.received, row.archived, f"{row.bytes_before:,}", f"{row.bytes_after:,}",
            row.pixels, row.destination, f"{row.seconds:.2f} s",
        )  # fmt: skip
    if not console.is_terminal:
        console.width = 200
    console.print(table)
    for row in rows:
        if row.reason:
            console.print(f"{row.file} went on as it came: {row.reason}")


def _serve(node: Node, place: Path, console: Console) -> None:
    wait_for_stop = on_stop_signal()
    assert node.dicom is not None
    console.print(
        f"""
the nodes go on running; Ctrl-C ends them. Try:
  edit {place / "scripts" / _SCRIPT}            a good edit takes over at once, a bad one is reported and changes nothing
  storescu -aec HOSTD 127.0.0.1 {node.dicom.port} FILE.dcm         send a file with any DICOM tool
  hostd deliveries --config {place / "hostd.toml"}         what went where
  hostd associations --config {place / "hostd.toml"}       who sent
"""
    )
    wait_for_stop()


__all__ = ["IMAGES", "demo"]

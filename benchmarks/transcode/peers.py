"""The others: DCMTK's and GDCM's commands, GDCM's library, and Orthanc's REST face, each as its users call it."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import requests

from benchmarks.receive.servers import free_port
from benchmarks.transcode.subjects import CannotMeasureError, Task
from hostd.dicom.syntaxes import (
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
    JPEG2000_LOSSLESS,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
    TransferSyntax,
)

_LIMIT_S = 120
_START_S = 40
Commands = dict[TransferSyntax, tuple[tuple[str, ...], tuple[str, ...]]]
"""Of a syntax: how to encode, and how to decode."""

_DCMTK: Commands = {
    JPEG_LOSSLESS_SV1: (("dcmcjpeg", "+e1"), ("dcmdjpeg",)),
    JPEG_LOSSLESS: (("dcmcjpeg", "+el"), ("dcmdjpeg",)),
    JPEG_LS_LOSSLESS: (("dcmcjpls",), ("dcmdjpls",)),
    RLE_LOSSLESS: (("dcmcrle",), ("dcmdrle",)),
}
_GDCMCONV: Commands = {
    syntax: (("gdcmconv", option), ("gdcmconv", "--raw"))
    for syntax, option in (
        (JPEG_LOSSLESS_SV1, "--jpeg"), (JPEG_LS_LOSSLESS, "--jpegls"), (JPEG2000_LOSSLESS, "--j2k"), (RLE_LOSSLESS, "--rle"),
    )
}  # fmt: skip
_GDCM_ENCODES = (JPEG_LOSSLESS_SV1, JPEG_LS_LOSSLESS, JPEG2000_LOSSLESS, RLE_LOSSLESS)
_GDCM_DECODES = (*_GDCM_ENCODES, JPEG_LOSSLESS, HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL)


class CommandLine:
    """A tool for each syntax, started anew each time."""

    def __init__(self, name: str, commands: Commands) -> None:
        self.name = name
        self._commands = commands

    def does(self, task: Task) -> bool:
        """Tell whether there is a tool for this."""
        return task.syntax in self._commands

    def run(self, task: Task, result: Path) -> None:
        """Run the tool. Raises `CannotMeasureError` with how it ended."""
        command = [*self._commands[task.syntax][task.is_decoding], str(task.source), str(result)]
        try:
            ended = subprocess.run(command, capture_output=True, timeout=_LIMIT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise CannotMeasureError(f"it took over {_LIMIT_S} s") from error
        if ended.returncode or not result.exists():
            said = ended.stderr.decode(errors="replace").strip().splitlines()
            raise CannotMeasureError(f"exit status {ended.returncode}: {said[-1][:120] if said else 'nothing said'}")

    def close(self) -> None:
        """There is nothing to end."""


class GdcmLibrary:
    """GDCM's library called from Python, in a process that is started once, as some images end it."""

    name = "GDCM's library"

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def does(self, task: Task) -> bool:
        """Tell whether GDCM claims to do this."""
        return task.syntax in (_GDCM_DECODES if task.is_decoding else _GDCM_ENCODES)

    def run(self, task: Task, result: Path) -> None:
        """Have the call made. Raises `CannotMeasureError` with what GDCM says, or how its process ended."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # the answer below then says that it ended
            process.stdin.write(json.dumps([str(task.source), str(result), task.target.uid]) + "\n")
            process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise CannotMeasureError(f"its process died (exit status {process.wait(_LIMIT_S)})")
        if answer.strip():
            raise CannotMeasureError(answer.strip())

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            child = str(Path(__file__).with_name("gdcm_child.py"))
            self._process = subprocess.Popen(
                [sys.executable, child],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        return self._process


class Orthanc:
    """Orthanc's /instances/{id}/modify with Transcode, of a server with a temporary folder."""

    def __init__(
        self, folder: Path, name: str, syntaxes: tuple[TransferSyntax, ...], plugin: Path | None = None
    ) -> None:
        self.name = name
        self._syntaxes = syntaxes
        self._folder = folder / name.replace(" ", "-")
        self._plugin = plugin
        self._process: subprocess.Popen[bytes] | None = None
        self._url = ""
        self._session = requests.Session()
        self._stored: dict[Path, str] = {}
        self._starts = 0

    def does(self, task: Task) -> bool:
        """Tell whether this Orthanc has the syntax."""
        return task.syntax in self._syntaxes

    def run(self, task: Task, result: Path) -> None:
        """Ask for the instance in another syntax, and write what comes. Raises `CannotMeasureError`; a server that died is started anew."""
        try:
            instance = self._instance(task.source)
            wanted = {"Transcode": task.target.uid, "Keep": ["SOPInstanceUID"], "Force": True}
            answer = self._session.post(f"{self._url}/instances/{instance}/modify", json=wanted, timeout=_LIMIT_S)
        except requests.RequestException as error:
            status = self._process.poll() if self._process else None
            died = "the server died" if status is not None else "the server does not answer"
            raise CannotMeasureError(f"{died} ({type(error).__name__})") from error
        if not answer.ok:
            raise CannotMeasureError(f"HTTP {answer.status_code}")
        result.write_bytes(answer.content)

    def prepare(self, task: Task) -> None:
        """Store the source, which is not measured. Raises `CannotMeasureError`."""
        try:
            self._instance(task.source)
        except requests.RequestException as error:
            raise CannotMeasureError(f"it does not take the source ({type(error).__name__})") from error

    def close(self) -> None:
        """End the server."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(15)
        self._process = None

    def _instance(self, source: Path) -> str:
        """Return Orthanc's id of the instance; one at a time is kept, as all sources of an image have one identity."""
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._start()
        if source not in self._stored:
            for held in self._stored.values():
                self._session.delete(f"{self._url}/instances/{held}", timeout=_LIMIT_S)
            answer = self._session.post(f"{self._url}/instances", data=source.read_bytes(), timeout=_LIMIT_S)
            answer.raise_for_status()
            self._stored = {source: answer.json()["ID"]}
        return self._stored[source]

    def _start(self) -> None:
        self._starts += 1
        self._stored = {}
        folder = self._folder / str(self._starts)
        folder.mkdir(parents=True)
        port, dicom_port = free_port(), free_port()
        settings = {
            "Name": "benchmark", "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "index"),
            "HttpPort": port, "DicomPort": dicom_port, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
            "Plugins": [str(self._plugin)] if self._plugin else [], "SaveJobs": False, "JobsHistorySize": 0,
            "Gdcm": {"RestrictTransferSyntaxes": [syntax.uid for syntax in self._syntaxes]},
        }  # fmt: skip
        (folder / "orthanc.json").write_text(json.dumps(settings), encoding="utf-8")
        self._process = subprocess.Popen(
            ["Orthanc", str(folder / "orthanc.json")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._url = f"http://127.0.0.1:{port}"
        give_up = time.monotonic() + _START_S
        while time.monotonic() < give_up and self._process.poll() is None:
            with contextlib.suppress(requests.ConnectionError):
                self._session.get(f"{self._url}/system", timeout=5).raise_for_status()
                return
            time.sleep(0.1)
        raise CannotMeasureError("the server does not start")


def commands() -> list[CommandLine]:
    """Return DCMTK and gdcmconv, where all of their tools are on the PATH."""
    wanted: list[tuple[str, Commands]] = [("DCMTK", _DCMTK), ("gdcmconv", _GDCMCONV)]
    return [CommandLine(name, table) for name, table in wanted if _has_tools(table)]


def libraries() -> list[GdcmLibrary]:
    """Return GDCM's library, where python-gdcm is installed."""
    return [GdcmLibrary()] if importlib.util.find_spec("gdcm") else []


def orthancs(folder: Path) -> list[Orthanc]:
    """Return Orthanc, where it is installed, and another one with its GDCM plugin for JPEG 2000."""
    if shutil.which("Orthanc") is None:
        return []
    found = [Orthanc(folder, "Orthanc", (JPEG_LOSSLESS_SV1, JPEG_LOSSLESS, JPEG_LS_LOSSLESS))]
    plugins = sorted(Path("/usr/lib/orthanc").glob("libOrthancGdcm.so*")) + sorted(
        Path("/usr/share/orthanc/plugins").glob("libOrthancGdcm.so*")
    )
    if plugins:
        found.append(Orthanc(folder, "Orthanc with GDCM", (JPEG2000_LOSSLESS,), plugins[0]))
    return found


def _has_tools(table: Commands) -> bool:
    return all(shutil.which(command[0]) for pair in table.values() for command in pair)

"""Workers and events for the tests of the sandbox."""

import socket
import subprocess
import sys
from pathlib import Path

import msgspec

from hostd.sandbox import frames
from hostd.sandbox.channel import Channel
from hostd.scripting.processes import _folders
from hostd.scripting.vocabulary import vocabulary

KEYWORDS, SYNTAXES, LOSSLESS_OF = vocabulary()


class Verdict(msgspec.Struct):
    """What the harness says of one script."""

    escapes: list[str]
    refused: list[frames.Finding]
    result: frames.Result | None


class Harness:
    """A process that examines scripts in the real jail; see harness.py."""

    def __init__(self, how=""):
        ours, theirs = socket.socketpair()
        with theirs:
            code = "import sys; sys.path += sys.argv[3:]; import harness; harness.main(int(sys.argv[1]), sys.argv[2])"
            here = str(Path(__file__).parent)
            command = [sys.executable, "-I", "-S", "-B", "-c", code, str(theirs.fileno()), how, here, *_folders()]
            self.process = subprocess.Popen(
                command, env={}, cwd="/", pass_fds=(theirs.fileno(),), start_new_session=True
            )
        self.channel = Channel(ours, Verdict, max_receive=frames.MAX_FRAME)
        self.channel.settimeout(60)

    def examine(self, source, **load) -> Verdict:
        self.channel.send({"load": make_load(source, **load), "event": make_event()})
        return self.channel.receive()

    def close(self):
        self.channel.close()
        self.process.kill()
        self.process.wait()


def make_load(source, **changes):
    facts = {
        "name": "x.py", "source": source, "keywords": KEYWORDS, "syntaxes": SYNTAXES, "lossless_of": LOSSLESS_OF,
        "destinations": ["archive"], "known_destinations": ["archive", "ai"], "may": [],
    }  # fmt: skip
    return frames.Load(**(facts | changes))


TAGS = {
    0x00080005: ("CS", ["ISO_IR 100"]),
    0x00080018: ("UI", ["1.2.3.4"]),
    0x00080020: ("DA", ["20240131"]),
    0x00080021: ("DA", ["2024.01.31"]),
    0x00080022: ("DA", ["yesterday"]),
    0x0008002A: ("DT", ["20240131142359.5+0100"]),
    0x00080030: ("TM", ["142359.123"]),
    0x00080031: ("TM", ["14"]),
    0x00080050: ("SH", ["00123"]),
    0x00080060: ("CS", ["CT"]),
    0x00080008: ("CS", ["ORIGINAL", "PRIMARY", ""]),
    0x00080080: ("LO", [""]),
    0x00080090: ("PN", ["Referrer"]),
    0x00081140: ("SQ", [{0x00081155: ("UI", ["1.9"])}, {0x00081155: ("UI", ["1.10"])}]),
    0x00081111: ("SQ", None),
    0x00090010: ("LO", ["OTHER"]),
    0x00090011: ("LO", ["ACME 1.0"]),
    0x00091110: ("DS", ["2.5"]),
    0x00091111: ("OB", [b"\x01\x02"]),
    0x00190010: ("LO", ["ACME 1.0"]),
    0x00191010: ("LO", ["second"]),
    0x00100010: ("PN", ["Yamada^Tarou^M^Dr.^Jr.=山田^太郎=やまだ^たろう"]),
    0x00100020: ("LO", ["0042"]),
    0x00101010: ("AS", []),
    0x00180050: ("DS", ["1.50"]),
    0x00180060: ("DS", ["", "120"]),
    0x00180088: ("DS", ["1,5"]),
    0x00200013: ("IS", ["7"]),
    0x00200012: ("IS", ["seven"]),
    0x00200032: ("DS", ["-1", "2e1", ".5"]),
    0x00204000: ("LT", None),
    0x00209165: ("AT", [0x00200032]),
    0x00280010: ("US", [512]),
    0x00281053: ("DS", ["1"]),
    0x7FE00010: ("OW", None),
}


def make_instance(**changes):
    facts = {
        "id": "11111111-22222222-33333333-44444444-55555555", "sop_instance_uid": "1.2.3.4", "sop_class": "1.2.840.10008.5.1.4.1.1.2",
        "series_instance_uid": "1.2.3", "study_instance_uid": "1.2", "patient_id": "0042", "transfer_syntax": SYNTAXES["explicit"],
        "has_pixels": True, "frames": 1, "size": 1000, "tags": TAGS,
        "origin": frames.Origin("dicom", calling_aet="CT1", called_aet="HOSTD", ip="192.0.2.9", modality="ct1", association=5),
        "receipt": frames.Receipt("made", "", "imagecodecs", 2.5, "openjpeg", SYNTAXES["implicit"], SYNTAXES["explicit"]),
    }  # fmt: skip
    facts |= changes
    return frames.Instance(**(facts | {"tags": frames.packed(facts["tags"])}))


def make_event(number=1, handler="on_stored_instance", instance=True, now=1_700_000_000.0):
    return frames.Event(number, handler, now, make_instance() if instance else None)

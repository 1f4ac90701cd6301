"""DCMTK's dcmqrscp as the PACS: an archive that is asked by C-FIND, and sends by C-MOVE and C-GET."""

import contextlib
import os
import signal
import subprocess

from peer_kit import until
from ports import free_port

from hostd.dicom.part10 import data_set_offset
from hostd.dimse import scu
from hostd.dimse.errors import CouldNotConnectError


class Pacs:
    """dcmqrscp with a folder of its own. `knows` says where it may send to: AE title → port on this machine."""

    def __init__(self, folder, *options, knows=None):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.options = options
        self.port = free_port()
        self.knows = knows or {}
        self.process = None

    def start(self):
        store = self.folder / "store"
        store.mkdir(exist_ok=True)
        hosts = "".join(f"{aet.lower()} = ({aet}, 127.0.0.1, {port})\n" for aet, port in self.knows.items())
        (self.folder / "dcmqrscp.cfg").write_text(
            f"NetworkTCPPort = {self.port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
            f"HostTable BEGIN\n{hosts}HostTable END\nVendorTable BEGIN\nVendorTable END\n"
            f"AETable BEGIN\nPACS {store} RW (200, 1024mb) ANY\nAETable END\n"
        )
        log = (self.folder / "dcmqrscp.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                ["dcmqrscp", "-v", "-c", str(self.folder / "dcmqrscp.cfg"), *self.options],
                stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        until(self._listens, f"dcmqrscp listens; see {self.folder / 'dcmqrscp.log'}")
        return self

    def _listens(self):
        assert self.process.poll() is None, self.log()
        try:  # a connection that asks for no association would end it
            scu.connect(
                "127.0.0.1", self.port, calling_aet="TEST", called_aet="PACS",
                contexts=[(scu.VERIFICATION, ["1.2.840.10008.1.2"])],
            ).release()  # fmt: skip
        except CouldNotConnectError:
            return False
        return True

    def log(self):
        return (self.folder / "dcmqrscp.log").read_text(errors="replace")[-4000:]

    def stop(self):
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):  # those that it forked hold its port, too
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(60)
            self.process = None

    def take(self, dataset, path):
        """Store a file in it, as it is."""
        with path.open("rb") as file:
            start = data_set_offset(file)
            syntax = start.transfer_syntax_uid
            file.seek(start.offset)
            with scu.connect(
                "127.0.0.1", self.port, calling_aet="CT", called_aet="PACS", contexts=[(dataset.SOPClassUID, [syntax])],
            ) as association:  # fmt: skip
                answer = association.store(dataset.SOPClassUID, dataset.SOPInstanceUID, syntax, file, None)
        assert answer.status == 0, answer

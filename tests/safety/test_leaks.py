"""Whatever a node is asked again and again leaves nothing in its memory."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from hostd.dimse import scu

pytestmark = [pytest.mark.load, pytest.mark.timeout(600)]

WARM, TIMES, SPAN, WINDOWS = 300, 300, 6, 18
"""How often is asked first and in each window, over how many windows is looked, and how many there are at most.

What a node remembers for a while comes and goes by some hundred objects, and what it does for the first time leaves
some thousand: neither stays between all windows, as what is left of each request does."""
SCRIPT = "def on_stored_instance(instance, host):\n    instance.tags.Modality\n"
PARTS = 'multipart/related; type="application/dicom"; transfer-syntax=*'
NODE = """
import gc, json, sys
from hostd.config.settings import Settings
from hostd.node import Node
node = Node(Settings(**json.loads(sys.argv[1])))
node.start()
print(json.dumps([node.http.port, node.dicom.port]), flush=True)
for _ in sys.stdin:
    gc.collect()
    print(sys.getallocatedblocks(), flush=True)
node.stop()
"""
"""A node that tells its ports, and for each line that it gets how many objects Python has memory for."""


class Bench:
    """A node with one instance, and a kept connection to it."""

    def __init__(self, folder, content):
        scripts = folder / "scripts"
        scripts.mkdir(mode=0o700)
        (scripts / "looks.py").write_text(SCRIPT)
        settings = {
            "node": {"name": "n", "data": str(folder / "data"), "scripts": str(scripts)},
            "dicom": {"port": 0, "host": "127.0.0.1"},
            "http": {"port": 0},
            "modalities": {"bench": {"aet": "BENCH", "host": "127.0.0.1", "port": 9}},
        }
        command = [sys.executable, "-c", NODE, json.dumps(settings)]
        with (folder / "log").open("w") as log:
            self.node = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        http_port, self.dicom_port = self.told(list)
        self.http = http.client.HTTPConnection("127.0.0.1", http_port, timeout=60)
        stored = json.loads(self.ask("POST", "/instances", content))
        self.instance, self.series, self.number = stored["ID"], stored["ParentSeries"], 0
        tags = json.loads(self.ask("GET", f"/instances/{self.instance}/simplified-tags"))
        self.wado = f"/dicom-web/studies/{tags['StudyInstanceUID']}/series/{tags['SeriesInstanceUID']}"

    def told(self, kind):
        """Return the next thing of that kind that the node tells; what it logs is passed over."""
        for line in self.node.stdout:
            with contextlib.suppress(ValueError):
                if isinstance(found := json.loads(line), kind):
                    return found
        raise AssertionError("the node has ended")

    def blocks(self):
        """Return how many objects the node has memory for, once what goes on has ended."""
        time.sleep(0.5)
        self.node.stdin.write("\n")
        self.node.stdin.flush()
        return self.told(int)

    def stop(self):
        self.http.close()
        self.node.stdin.close()
        assert self.node.wait(60) == 0

    def ask(self, method, path, body=None, **headers):
        try:
            return self._ask(method, path, body, headers)
        except (ConnectionError, http.client.RemoteDisconnected):  # kept for five seconds only
            self.http.close()
            return self._ask(method, path, body, headers)

    def _ask(self, method, path, body, headers):
        self.http.request(method, path, body, headers)
        answer = self.http.getresponse()
        content = answer.read()
        assert answer.status in (200, 404), (method, path, answer.status, content[:300])
        return content

    def find(self):
        query = {"SOPInstanceUID": generate_uid(), "PatientName": f"{self.number}*"}
        assert self.ask("POST", "/tools/find", json.dumps({"Level": "Instance", "Query": query})) == b"[]"

    def qido(self):
        assert self.ask("GET", f"/dicom-web/instances?PatientID={self.number}") == b"[]"

    def unknown(self):
        self.ask("GET", f"/instances/{generate_uid()}")
        self.ask("GET", f"/nowhere/{generate_uid()}")

    def series_as_stored(self):
        self.ask("GET", self.wado, Accept=PARTS)

    def metadata(self):
        self.ask("GET", self.wado + "/metadata", Accept="application/dicom+json")

    def notes(self):
        self.ask("PUT", f"/instances/{self.instance}/metadata/note{self.number % 7}", str(self.number))
        self.ask("PUT", f"/instances/{self.instance}/labels/label{self.number % 9}", "")

    def attachment(self):
        self.ask("PUT", f"/instances/{self.instance}/attachments/{1025 + self.number % 5}", os.urandom(2000))

    def archive(self):
        self.ask("GET", f"/series/{self.series}/archive")

    def file(self):
        self.ask("GET", f"/instances/{self.instance}/file")

    def transcoded(self):
        self.ask("GET", f"/instances/{self.instance}/file?transcode=1.2.840.10008.1.2.4.70")

    def preview(self):
        self.ask("GET", f"/instances/{self.instance}/preview")

    def associations(self):
        contexts = [("1.2.840.10008.1.1", ["1.2.840.10008.1.2"])]
        where = "127.0.0.1", self.dicom_port
        with scu.connect(*where, calling_aet="BENCH", called_aet="HOSTD", contexts=contexts, timeout_s=60):
            pass

    def connections(self):
        self.http.close()
        self.ask("GET", "/system")


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path, Path(get_testdata_file("CT_small.dcm")).read_bytes())
    yield bench
    bench.stop()


@pytest.mark.parametrize(
    "what",
    [
        Bench.find, Bench.qido, Bench.unknown, Bench.series_as_stored, Bench.metadata, Bench.notes, Bench.attachment, Bench.archive,
        Bench.file, Bench.transcoded, Bench.preview, Bench.associations, Bench.connections,
    ],
)  # fmt: skip
def test_what_is_asked_again_and_again_leaves_nothing(bench, what):
    def ask(times):
        for _ in range(times):
            bench.number += 1
            what(bench)

    ask(WARM)
    seen = [bench.blocks()]
    for _ in range(WINDOWS):
        ask(TIMES)
        seen.append(bench.blocks())
        if len(seen) > SPAN and seen[-1] - seen[-1 - SPAN] < SPAN * TIMES / 2:
            return
    pytest.fail(f"objects that Python has memory for, after {TIMES} requests each: {seen}")

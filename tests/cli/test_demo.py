"""`hostd demo`: the main job, as a stranger sees it first."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from hostd.cli.demo import IMAGES


@pytest.fixture(autouse=True)
def _one_demo_at_a_time(tmp_path_factory):
    """The demo prefers fixed ports, one of which a test takes: no other process of this run may have them meanwhile."""
    common = tmp_path_factory.getbasetemp().parent  # of all processes of one run, where there are several
    with (common / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def demo(folder, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "hostd", "demo", *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )  # fmt: skip


def test_every_image_arrives_with_its_pixels(tmp_path):
    process = demo(tmp_path, "--json")
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    rows = {row["file"]: row for row in json.loads(out)}
    assert rows.keys() == set(IMAGES)
    compressed = {name for name, row in rows.items() if row["received"] != row["archived"]}
    assert compressed == set(IMAGES) - {"examples_jpeg2k.dcm", "examples_ybr_color.dcm", "test-SR.dcm", "rtdose.dcm"}
    for name, row in rows.items():
        assert row["destination"] == "modality:archive"
        assert row["pixels"] == (
            "identical" if name in compressed else "none (same bytes)" if name == "test-SR.dcm" else "same bytes"
        )
        if name in compressed:
            assert row["archived"] == "JPEG 2000 Lossless"
            assert row["bytes_after"] < row["bytes_before"]
    assert rows["rtdose.dcm"]["reason"]  # what cannot be compressed says why
    assert (tmp_path / "hostd-demo" / "scripts" / "compress.py").exists()


def test_folders_and_ports_that_are_taken_are_not_used_and_it_says_so(tmp_path):
    (tmp_path / "hostd-demo").mkdir()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 4242))
        except OSError:
            pytest.skip("port 4242 is taken by somebody else, who must not be disturbed")
        taken.listen()
        process = demo(tmp_path)
        out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    assert "hostd-demo-2" in out
    assert "port 4242 is taken" in out
    assert not list((tmp_path / "hostd-demo").iterdir())


def test_served_nodes_go_on_until_told_to_stop(tmp_path):
    process = demo(tmp_path, "--serve", env=os.environ | {"PYTHONUNBUFFERED": "1"})
    try:
        seen = ""
        while "the nodes go on running" not in seen:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            seen += line
        while "storescu" not in seen:
            seen += process.stdout.readline()
        port = int(seen.split("127.0.0.1 ")[1].split()[0])
        with socket.create_connection(("127.0.0.1", port), 60):
            pass
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()

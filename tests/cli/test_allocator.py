"""A node's threads share one arena of the C library's allocator: what is free in one is free for all."""

import platform
import subprocess
import sys

import pytest

_ARENAS = """
import ctypes, sys, threading
from hostd.cli.allocator import share_one_arena
if sys.argv[1] == "shared":
    share_one_arena()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.fopen.restype = ctypes.c_void_p
ready = threading.Barrier(5)
def allocate():
    libc.malloc(1000)
    ready.wait(60)
threads = [threading.Thread(target=allocate) for _ in range(4)]
[one.start() for one in threads]
ready.wait(60)
[one.join() for one in threads]
file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas")
@pytest.mark.parametrize(("how", "is_one"), [("shared", True), ("apart", False)])
def test_threads_share_one_arena(tmp_path, how, is_one):
    told = tmp_path / "malloc_info"
    subprocess.run([sys.executable, "-c", _ARENAS, how, str(told)], check=True, timeout=120)
    assert (told.read_text().count("<heap nr=") == 1) is is_one

"""All of Python, without the policy, inside the jail: what the kernel refuses when everything above it has failed."""

import os
import socket
import subprocess
import sys

import pytest

from hostd.sandbox import jail
from hostd.scripting.processes import _folders

PRELUDE = """
import ctypes, errno, mmap, os, socket, sys, threading, time
sys.path += {folders!r}
from hostd.sandbox import jail
inherited, other = socket.socketpair()
libc = ctypes.CDLL(None, use_errno=True)
layers = jail.enter(memory_bytes=256 << 20, open_files=32, file_bytes={file_bytes}, extra_calls={extra!r})
def say(text):
    os.write(1, (text + "\\n").encode())
def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")
try:
    {attempt}
except BaseException as error:
    say("refused " + type(error).__name__)
else:
    say("done")
os._exit(0)
"""


AS_NOBODY = "os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)"
"""After the imports, since an ordinary user may not be let into the folder that hostd is installed in."""


def inside(attempt, extra=(), file_bytes=0, runner="pass", **popen):
    code = PRELUDE.replace("inherited, other", f"{runner}\nuid = os.getuid()\ninherited, other", 1)
    code = code.format(attempt=attempt, folders=_folders(), extra=tuple(extra), file_bytes=file_bytes)
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60, check=False, **popen
    )


REFUSED = {
    "open": "open('/etc/hostname')",
    "create": "open('/tmp/hostd-jail-test', 'w')",
    "listdir": "os.listdir('/')",
    "stat": "os.stat('/etc/passwd')",
    "unlink": "os.unlink('/tmp/nothing-of-that-name')",
    "rename": "os.rename('/tmp/a', '/tmp/b')",
    "chdir": "os.chdir('/tmp')",
    "memory of itself": "open('/proc/self/mem', 'rb')",
    "tcp socket": "socket.socket()",
    "udp socket": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "unix socket": "socket.socket(socket.AF_UNIX)",
    "socketpair": "socket.socketpair()",
    "fork": "os.fork()",
    "thread": "threading.Thread(target=print).start()",
    "exec": "os.execv('/bin/true', ['true'])",
    "spawn": "os.posix_spawn('/bin/true', ['true'], {})",
    "kill the parent": "os.kill(os.getppid(), 0)",
    "kill itself": "os.kill(os.getpid(), 0)",
    "setuid": "os.setuid(0)",
    "dup": "os.dup(0)",
    "pipe": "os.pipe()",
    "memfd": "os.memfd_create('x')",
    "import from disk": "import wave",
    "raise a limit": "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))",
    "pass a descriptor": "socket.send_fds(inherited, [b'x'], [0])",
    "ptrace": "call(101 if os.uname().machine == 'x86_64' else 117, 0, 0, 0, 0)",
    "unshare": "call(272 if os.uname().machine == 'x86_64' else 97, 0x10000000)",
    "bpf": "call(321 if os.uname().machine == 'x86_64' else 280, 0, 0, 0)",
    "io_uring": "call(425, 8, 0)",
    "userfaultfd": "call(323 if os.uname().machine == 'x86_64' else 282, 0)",
    "memory": "bytearray(2 << 30)",
}  # fmt: skip

needs_both = pytest.mark.skipif(sys.platform != "linux", reason="the jail's kernel layers are Linux's")


@needs_both
@pytest.mark.parametrize("attempt", REFUSED.values(), ids=REFUSED.keys())
def test_the_jail_refuses_what_a_worker_does_not_need(attempt):
    outcome = inside(attempt)
    assert outcome.stdout.startswith("refused "), outcome


NOBODY = 65534


@needs_both
@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can start a process as an ordinary user; the tests above ran as one"
)
@pytest.mark.parametrize("attempt", REFUSED.values(), ids=REFUSED.keys())
def test_the_jail_refuses_the_same_to_an_ordinary_user(attempt):
    outcome = inside(attempt, runner=AS_NOBODY)
    assert outcome.stdout.startswith("refused "), outcome


@needs_both
@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can start a process as an ordinary user; the tests above ran as one"
)
def test_an_ordinary_user_gets_every_layer_and_what_a_worker_needs():
    mine = inside("say(repr(sorted(layers.items()))); say(str(uid))")
    theirs = inside("say(repr(sorted(layers.items()))); say(str(uid))", runner=AS_NOBODY)
    assert mine.stdout.splitlines()[0] == theirs.stdout.splitlines()[0]
    assert (mine.stdout.splitlines()[1], theirs.stdout.splitlines()[1]) == ("0", str(NOBODY))
    assert "('seccomp', 1)" in theirs.stdout
    assert inside("inherited.sendall(b'x'); assert other.recv(1); os.urandom(9)", runner=AS_NOBODY).stdout == "done\n"


@needs_both
def test_what_a_worker_needs_still_works():
    outcome = inside(
        "inherited.sendall(b'x' * 1000); assert other.recv(2000); time.sleep(0.001); os.urandom(9); bytearray(50 << 20)"
    )
    assert outcome.stdout == "done\n"


@needs_both
def test_the_layers_in_force_are_reported():
    outcome = inside("say(repr(sorted(layers.items())))")
    assert "('no_new_privs', 1), ('rlimits', 1), ('seccomp', 1)" in outcome.stdout


@needs_both
def test_a_codec_worker_can_be_given_threads_but_not_processes():
    extra = ("clone", "set_robust_list")
    assert (
        inside("t = threading.Thread(target=say, args=('in a thread',)); t.start(); t.join()", extra).stdout
        == "in a thread\ndone\n"
    )
    assert inside("os.fork()", extra).stdout == "refused PermissionError\n"
    assert inside("os.posix_spawn('/bin/true', ['true'], {})", extra).stdout == "refused PermissionError\n"


@needs_both
def test_a_codec_worker_can_be_given_descriptors_and_write_to_them(tmp_path):
    attempt = "_, (fd,), _, _ = socket.recv_fds(socket.socket(fileno=0), 10, 1); os.ftruncate(fd, 0); os.pwrite(fd, b'abcd', 0); os.fsync(fd)"
    ours, theirs = socket.socketpair()
    with ours, theirs, (tmp_path / "out").open("wb") as out:
        socket.send_fds(ours, [b"x"], [out.fileno()])
        extra = ("recvmsg", "sendmsg", "ftruncate", "fsync", "pwrite64")
        # Making a Python object of the descriptor asks for the socket's type, so this is done before: see the attempt.
        attempt = attempt.replace("socket.socket(fileno=0)", "given")
        code = PRELUDE.replace("libc = ", "given = socket.socket(fileno=0)\nlibc = ")
        code = code.format(attempt=attempt, folders=_folders(), extra=extra, file_bytes=1 << 20)
        outcome = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code],
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert outcome.stdout == "done\n", outcome
    assert (tmp_path / "out").read_bytes() == b"abcd"


def test_a_file_over_the_limit_is_not_written(tmp_path):
    with (tmp_path / "out").open("wb") as out:
        code = PRELUDE.format(
            attempt=f"os.write({out.fileno()}, b'x' * 9000); os.write({out.fileno()}, b'y')",
            folders=_folders(), extra=(), file_bytes=4096,
        )  # fmt: skip
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", code],
            pass_fds=(out.fileno(),),
            timeout=60,
            check=False,
            capture_output=True,
        )
    assert (tmp_path / "out").stat().st_size <= 4096


def test_an_unknown_call_is_named():
    with pytest.raises(ValueError, match="open_by_handle_at"):
        jail.enter(memory_bytes=1 << 30, open_files=10, file_bytes=0, extra_calls=["open_by_handle_at"])


def test_no_call_that_opens_names_or_executes_is_in_the_table():
    for name in (
        "open",
        "openat",
        "openat2",
        "execve",
        "connect",
        "bind",
        "socket",
        "kill",
        "ptrace",
        "unlink",
        "mount",
        "prctl",
        "stat",
    ):
        assert name not in jail._CALLS

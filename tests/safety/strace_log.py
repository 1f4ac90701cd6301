"""Reads what strace wrote of a node (`strace -f -y -x`), as calls that `order.problems` judges."""

import re

from order import Answered, Logged, Synced

CALLS = "fsync,fdatasync,openat,sendto,write,pwrite64"

_LINE = re.compile(r"^(\d+) +(.*)$")
_SYNC = re.compile(r"^f(?:data)?sync\(\d+<([^>]*)>")
_SEND = re.compile(r'^(?:sendto|write)\(\d+<(?:socket|TCP)[^"]*"((?:[^"\\]|\\.)*)"')
_WAL = re.compile(r'^pwrite64\(\d+<[^>]*\.db-wal>, "((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|[0-7]{1,3}|.)", re.DOTALL)
_SIMPLE = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f", b'"': b'"', b"\\": b"\\"}

_C_STORE_RSP = bytes.fromhex("0000 0001 02000000 0180")
_STATUS = bytes.fromhex("0000 0009 02000000")


def answer_in(sent):
    """Return the answer that these bytes begin or hold, None when they are something else."""
    if sent.startswith(b"HTTP/1.1 "):
        return Answered("HTTP", sent[9:12] == b"200")
    if _C_STORE_RSP in sent and _STATUS in sent:
        status = sent[sent.index(_STATUS) + len(_STATUS) :][:2]
        return Answered("DIMSE", status == b"\0\0")
    return None


def read_trace(text, blobs):
    """Return the calls in order: one that began counts as done when it returned, but an answer counts from its beginning."""
    names = {name.encode(): name for name in blobs}
    unfinished = {}
    calls = []
    for line in text.splitlines():
        if not (match := _LINE.match(line)):
            continue
        thread, call = match.groups()
        if resumed := re.match(r"^<\.\.\. (\w+) resumed>", call):
            began = unfinished.pop(thread, "")
            done = began if began.startswith(resumed[1]) and call.endswith("= 0") else ""
        elif call.endswith("<unfinished ...>"):
            unfinished[thread] = call
            calls += _begun(call, names)
            continue
        else:
            calls += _begun(call, names)
            done = call if call.endswith("= 0") else ""
        if synced := _SYNC.match(done):
            calls.append(Synced(synced[1]))
    return calls


def _begun(call, names):
    if sent := _SEND.match(call):
        answer = answer_in(_bytes(sent[1]))
        return [answer] if answer else []
    if written := _WAL.match(call):
        page = _bytes(written[1])
        return [Logged(name) for encoded, name in names.items() if encoded in page]
    return []


def _bytes(printed):
    def unescape(match):
        code = match[1]
        if code[:1] == b"x":
            return bytes([int(code[1:], 16)])
        return bytes([int(code, 8)]) if code.isdigit() else _SIMPLE[code]

    return _ESCAPE.sub(unescape, printed.encode("latin-1"))

"""Who a lossy result is: its SOP Instance UID follows from everything that its pixels depend on (PS3.5 §B.2).

So the same file, sent twice, does not become two instances, and other pixels never share a UID. It takes two steps, because
only the host knows the installation's secret, and only the worker knows the codec:

- the host makes a key, HMAC-SHA256 of the secret over what is to be done to what;
- the worker makes the UID, `2.25.` and 128 bits of HMAC-SHA256 of that key over the codecs with their versions.

Without the secret nobody can tell from a UID which instance it was made of, or make another that has it.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass

from hostd.transcoding.options import EncodeOptions

_PURPOSE = "hostd lossy 1"
"""To be changed with what the options mean, or with what hostd itself does to samples."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a lossy result is made of.

    `sop_instance_uid` and `syntax` are the source's, `content` is the SHA-256 of the data set as it was received, and `before` the
    text of what was done to it before; `target` is the UID of the result's transfer syntax.
    """

    sop_instance_uid: str
    content: str
    before: str
    syntax: str
    target: str


def key_of(secret: bytes, made: Made, options: EncodeOptions) -> bytes:
    """Return the key that the UID of a result follows from. `secret` is the installation's."""
    fields = (_PURPOSE, made.sop_instance_uid, made.content, made.before, made.syntax, made.target, options.canonical())
    return hmac.digest(secret, _unambiguous(fields), "sha256")


def uid_of(key: bytes, codecs: Sequence[str]) -> str:
    """Return the UID of a result that these codecs, in this order, may have made; each with its version."""
    return f"2.25.{int.from_bytes(hmac.digest(key, _unambiguous(codecs), 'sha256')[:16], 'big')}"


def _unambiguous(fields: Sequence[str]) -> bytes:
    return json.dumps(list(fields)).encode("ascii")

"""Every error hostd raises on purpose, in one hierarchy.

A message says what happened, to which instance or file, and what to do. Errors know nothing of DIMSE, HTTP or exit
codes: each face turns them into its own status (`scp.storage`, `web.errors`, `cli`).
"""

from __future__ import annotations

from typing import Any


class HostdError(Exception):
    """Base of all errors that are meant to be read by people."""


class ConfigurationError(HostdError):
    """The configuration cannot be used as it is written."""


class NodeError(HostdError):
    """The node cannot start or go on: its folder is taken, not private, or on a file system that loses locks."""


class NotFoundError(HostdError):
    """What was asked for is not in the archive or not in the configuration."""


# -- receiving --------------------------------------------------------------------------------------------------------


class ReceptionError(HostdError):
    """An instance was not taken; the sender keeps its copy."""


class UnparsableError(ReceptionError):
    """What arrived is not a DICOM instance that can be identified (DIMSE 0xC000)."""


class NoDicomFileError(UnparsableError):
    """What arrived is no DICOM file at all (PS3.10 §7.1), rather than a damaged one."""


class MismatchError(ReceptionError):
    """The data set does not match the SOP class or instance of the command (DIMSE 0xA900)."""


class ConflictError(ReceptionError):
    """Other content is stored under the same identity, and the configuration refuses a second (DIMSE 0x0111)."""


class StorageError(ReceptionError):
    """The instance could not be put on stable storage; what was there before is untouched (DIMSE 0xA700)."""


class NoRoomError(StorageError):
    """There is too little room on the disk for anything more (`node.refuse_below_mb`); nothing was written."""


class LimitReachedError(NoRoomError):
    """What came would go beyond `[storage]`, and nothing may go to make room for it; nothing was kept. The text is for the sender.

    `limit` says which limit.
    """

    def __init__(self, limit: str) -> None:
        super().__init__(f"the archive is full ({limit}); nothing was stored")
        self.limit = limit


class FilterRefusedError(ReceptionError):
    """A filter refused the instance, or failed, which is the same to the sender; `status` is the one of C-STORE to answer with."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


# -- transcoding ------------------------------------------------------------------------------------------------------


class TranscodeError(HostdError):
    """A transcode gave no result; the original is untouched."""


class CannotTranscodeError(TranscodeError):
    """This file cannot be brought to that transfer syntax without loss, by what is installed; the message says why."""


class CannotEditError(CannotTranscodeError):
    """This instance cannot be modified, de-identified or redacted as it was asked; the message says why (P7)."""


class WrongPixelsError(TranscodeError):
    """A codec gave pixels that differ from the original's. Its result was thrown away."""


class CodecCrashedError(TranscodeError):
    """A codec process died, hung or ran out of memory on this file."""


class ToolError(TranscodeError):
    """An external tool failed, or gave a result that cannot be used; the message names the tool."""


# -- scripts ----------------------------------------------------------------------------------------------------------


class ScriptError(HostdError):
    """A script cannot be used: it does not compile, breaks the policy, or asks for what it may not have."""


# -- the network ------------------------------------------------------------------------------------------------------


class AssociationError(HostdError):
    """An association could not be made, was rejected, or broke."""


class DestinationFault(HostdError):  # noqa: N818 - a fault is a verdict on whom to blame, not only an error
    """A delivery failed because of the destination: it holds the queue and counts against no instance (P3)."""


class InstanceFault(HostdError):  # noqa: N818 - see DestinationFault
    """A delivery failed because of the instance: sending it again unchanged would fail again."""


class ActionFault(HostdError):  # noqa: N818 - see DestinationFault
    """What a script asked for can never be carried out; trying again unchanged would fail again (P7). `result` is what came of it all the same."""

    def __init__(self, message: str, result: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.result = result


class NoCommonSyntaxError(InstanceFault):
    """A peer accepts no transfer syntax that the instance can be sent in, on this association. The text names both sides' syntaxes."""


class UnlikeReceiptError(InstanceFault):
    """What was made again is not what its receipt speaks of. It was thrown away, and the receipt stands."""

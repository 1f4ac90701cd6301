"""The settings that all kinds of destination share: how much, how fast, when, and for how long."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from hostd.config.section import Section
from hostd.config.values import Count, Hours, Rate, Wait
from hostd.config.windows import Windows


class Forwarding(Section):
    """On what terms a destination is sent to; each kind of destination adds where it is."""

    KIND: ClassVar[str]
    """The word for this kind, as `modality`: in `kind:name`."""

    batch: Count | None = Field(
        default=None, description="How many deliveries go over one connection. Absent: that of `[delivery]`."
    )
    linger_s: Wait | None = Field(
        default=None, description="Seconds that a connection waits for more. Absent: that of `[delivery]`."
    )
    connections: Count = Field(default=1, description="How many connections to it may be open at one time.")
    instances_per_s: Rate | None = Field(
        default=None, description="How many instances it is sent in a second, at most. Absent: any."
    )
    mb_per_s: Rate | None = Field(
        default=None, description="How many megabytes (MiB) it is sent in a second, at most, on average. Absent: any."
    )
    window: Windows = Field(
        default=(),
        description="When it may be sent to, in local time: `19:00-06:00`, `Mon-Fri 19:00-06:00`, or a list of such. Absent: always.",
    )
    max_age_h: Hours | None = Field(
        default=None, description="Hours after which a delivery that is still not done is given up. Absent: never."
    )
    accept_warnings: bool = Field(
        default=False,
        description="Take what it stored with a warning for delivered, so that a delete may follow.",
    )
    alternate: str | None = Field(
        default=None,
        description="The destination that gets what this one failed to take, as `other` or `peer:other`; both are recorded. Absent: none.",
    )

    @property
    def commitment_wait_s(self) -> float | None:
        """Seconds after which it is asked for storage commitment anew; None: it is not asked."""
        return None

    @property
    def skips_present(self) -> bool:
        """Whether it is asked what it has, and not sent that."""
        return False


class Asking(Forwarding):
    """A destination that can be asked what it has."""

    if_present: Literal["send", "skip"] = Field(
        default="send",
        description="What it says it has already (by C-FIND, QIDO-RS, or Orthanc's id) under the same UIDs: `send` it without asking, or `skip` it. Content"
        " is not compared: what was skipped is `present`, not delivered, and no delete follows. Where it cannot be asked, it is sent.",
    )

    @property
    def skips_present(self) -> bool:
        """Whether it is asked what it has, and not sent that."""
        return self.if_present == "skip"

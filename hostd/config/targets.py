"""`[targets.NAME]`: systems that scripts may ask and tell something by HTTP, without seeing where they are or who hostd is to them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from hostd.config.http_access import HttpReach
from hostd.config.values import Seconds, Strings

METHODS = ("GET", "POST", "PUT")


class Target(HttpReach):
    """A system that scripts with the capability "http" may reach, by its name: `host.http_get`, `host.post`, `host.put`. Scripts see neither its address nor its secrets, and reach nothing outside of `url`."""

    methods: Strings = Field(default=METHODS, description="What scripts may do there: GET, POST, PUT.")
    timeout_s: Seconds = Field(default=30.0, description="Seconds to wait for its answer.")
    get_timeout_s: Seconds = Field(
        default=5.0, description="Seconds that `host.http_get` may take, for which the script's run waits."
    )
    max_answer_kb: Annotated[int, Field(ge=1, le=256)] = Field(
        default=64, description="Kilobytes (KiB) of an answer that reach the script; a larger one is an error."
    )

    @field_validator("methods")
    @classmethod
    def _known(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        given = tuple(method.upper() for method in methods)
        if not given or not set(given) <= set(METHODS):
            raise ValueError(f"should be some of {', '.join(METHODS)}")
        return given

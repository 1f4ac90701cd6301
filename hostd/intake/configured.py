"""What a configuration has done with instances as they arrive."""

from __future__ import annotations

import structlog

from hostd.config.settings import Settings
from hostd.intake.ingest import Policy, Rule
from hostd.transcoding import registry
from hostd.transcoding.tool import configured

_log = structlog.get_logger(__name__)


def policy_of(settings: Settings) -> Policy:
    """Return what is transcoded on ingest, and warn of what can only end in kept originals."""
    ingest = settings.ingest
    if not settings.transcoding.enabled:
        return Policy()
    rules = tuple(
        Rule(
            rule.target, rule.calling_aet, rule.called_aet, rule.modality, rule.sop_class, rule.options,
            ingest.keep_original if rule.keep_original is None else rule.keep_original,
        )
        for rule in ingest.rules
    )  # fmt: skip
    policy = Policy(
        ingest.target, rules, ingest.of_uncompressed, ingest.of_compressed, ingest.options, ingest.keep_original
    )
    _warn_of_what_nobody_writes(policy, settings)
    return policy


def _warn_of_what_nobody_writes(policy: Policy, settings: Settings) -> None:
    tools = configured(settings.tools).values()
    for target in policy.targets:
        by_tool = any(target in tool.encodes for tool in tools)
        by_codec = not target.is_encapsulated or registry.encoders(target)
        if not by_tool and (not by_codec or settings.transcoding.builtin == "disabled"):
            _log.warning(
                "no codec of this installation writes a transfer syntax of [ingest], and no tool does: what is to be brought to it is kept as received",
                transfer_syntax=str(target),
                install=registry.what_to_install(target) or "nothing that hostd knows of",
            )


def in_words(settings: Settings) -> str:
    """Say what is transcoded as it arrives; nothing where nothing is."""
    ingest = settings.ingest
    if ingest.target is None and not ingest.rules:
        return ""
    if not settings.transcoding.enabled:
        return "[ingest] asks for transcoding, but [transcoding] enabled is false: everything is kept as received"
    default = f"is brought to {ingest.target}" if ingest.target else "is kept as received"
    if ingest.options is not None:
        default += f" with loss ({ingest.options.in_words()}), each as an instance of its own; the originals are "
        default += "kept as versions" if ingest.keep_original else "removed"
    return f"what arrives {default}" + (", unless a rule of [ingest] says otherwise" if ingest.rules else "")

"""What comes from a worker, checked against what its script may do: what the API inside it would never have made is not believed (P6)."""

from __future__ import annotations

from collections.abc import Container, Sequence

from hostd.sandbox import acts, filters, frames, situations
from hostd.sandbox.situations import Notify


def dishonest(
    result: frames.Result, event: frames.Event, load: frames.Load, lossy: set[str], given: Container[str] = ()
) -> str | None:
    """Say what in a result the API inside the worker would never have made; None when nothing is."""
    if result.id != event.id:
        return "the result of another event"
    if len(result.actions) > load.max_actions or (result.failure is not None and result.actions):
        return "a plan that is too long, or of a run that failed"
    uids = {syntax.uid for syntax in load.syntaxes.values()} if result.actions else set()
    for index, action in enumerate(result.actions):
        earlier = result.actions[:index]
        misnamed = _misnamed(action, earlier, event, given)
        if misnamed is not None:
            return misnamed
        if not _permitted(action, earlier, load, uids, lossy):
            return f"an action that this script may not take ({type(action).__name__.lower()})"
    return None


def _misnamed(
    action: frames.Action, earlier: Sequence[frames.Action], event: frames.Event, given: Container[str]
) -> str | None:
    """Say what an action names that this run was not given; None when nothing is."""
    if isinstance(action, (Notify, acts.Request, acts.Retrieve)):
        return None
    if isinstance(action, acts.Deal):
        return None if _is_of(action, event) else "an action on another delivery or destination than the event's"
    named = [action.x, action.product] if isinstance(action, acts.Replace) else [action.x]
    for x in named:
        if isinstance(x, int) and not (0 <= x < len(earlier) and isinstance(earlier[x], frames.Makes)):
            return "an action on a product that no earlier action makes"
        # Which instances a level has is known to the index: what is none of them is not found when the plan is entered.
        is_own = event.level is not None or (event.instance is not None and x == event.instance.id)
        if isinstance(x, str) and not is_own and x not in given:
            return "an action on another instance than the event's"
    return None


def dishonest_question(question: frames.Question, load: frames.Load) -> str | None:
    """Say why the API inside the worker would never have asked another system that; None where it would, or nobody is asked."""
    match question.verb:
        case "http_get":
            may = "http" in load.may and question.more.get("target") in load.targets
        case "query":
            may = "query" in load.may and question.more.get("modality") in load.modalities
        case _:
            may = True
    return None if may else "a question that this script may not ask"


def dishonest_verdict(verdict: frames.Verdict, asked: frames.Filter) -> str | None:
    """Say what in a verdict the API inside the worker would never have made; None when nothing is."""
    if verdict.id != asked.id:
        return "the verdict on something else"
    if (verdict.set or verdict.remove) and (asked.handler not in filters.CHANGING or verdict.verdict != "accept"):
        return "changes of what cannot be changed"
    if len(verdict.set) + len(verdict.remove) > filters.MAX_CHANGES or len(verdict.reason) > filters.MAX_REASON:
        return "more changes, or a longer reason, than there may be"
    if verdict.verdict == "discard" and asked.handler in ("filter_http_request", *filters.QUERIES):
        return "a verdict that this filter does not have"
    if verdict.verdict == "refuse" and (
        asked.handler == "filter_outgoing_instance" or not filters.may_refuse_with(asked.handler, verdict.status)
    ):
        return "a verdict that this filter does not have"
    return None


def _may_make(action: frames.RunTool | frames.Modify | frames.Redact | frames.Anonymize, load: frames.Load) -> bool:
    match action:
        case frames.RunTool():
            return "tools" in load.may and action.name in load.tools
        case frames.Anonymize():
            return "anonymize" in load.may and action.project in load.projects
        case _:
            return "modify" in load.may


def _is_of(action: acts.Deal, event: frames.Event) -> bool:
    match event.told:
        case situations.EndedDelivery():
            return action.delivery == event.told.id
        case situations.Destination():
            return action.delivery is None
        case _:
            return False


def _may_deal(action: acts.Deal, load: frames.Load) -> bool:
    is_given = action.to in load.destinations if action.verb == "redirect" else not action.to
    return is_given and (action.verb != "discard" or "delete" in load.may)


def _may_reach(action: acts.Request | acts.Retrieve, load: frames.Load) -> bool:
    if isinstance(action, acts.Request):
        return "http" in load.may and action.target in load.targets
    return "retrieve" in load.may and action.modality in load.modalities


def _permitted(
    action: frames.Action, earlier: Sequence[frames.Action], load: frames.Load, uids: set[str], lossy: set[str]
) -> bool:
    match action:
        case frames.Transcode():
            asked = action.lossy or (action.quality, action.ratio, action.near) != (None, None, None)
            loses = action.to in lossy or asked
            may = action.to in uids and (not loses or "lossy" in load.may)
        case frames.RunTool() | frames.Modify() | frames.Redact() | frames.Anonymize():
            may = _may_make(action, load)
        case frames.Forward():
            may = action.to in load.destinations and (action.syntax is None or action.syntax in uids - lossy)
        case Notify():
            may = action.channel in load.channels
        case acts.Store() | acts.Replace():
            may = ("store" if isinstance(action, acts.Store) else "replace") in load.may
        case acts.Deal():
            may = _may_deal(action, load)
        case acts.Request() | acts.Retrieve():
            may = _may_reach(action, load)
        case acts.SetMetadata() | acts.Label() | acts.Unlabel() | acts.DeclareStable():
            may = True
        case frames.Delete():
            waits = action.after if isinstance(action.after, list) else []
            named = all(0 <= one < len(earlier) and isinstance(earlier[one], frames.Forward) for one in waits)
            may = "delete" in load.may and named
    return may

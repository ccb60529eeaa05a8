""".../rules: the rule sets of a tenant, their versions, and changing what is in force."""

import re
from typing import Final

from quart import Response, request

from lognode.api.app import ApiApp, Caller, Docs, Parameter, current
from lognode.api.federation.requests import JSON_MEDIA, json_answer, read_json, refuse_parameters
from lognode.api.rules.values import (
    DifferenceJson,
    PublishedJson,
    RollbackJson,
    RuleSetsJson,
    RuleTextJson,
    VersionsJson,
    changes_json,
    publication_json,
    published_json,
    rule_set_json,
    rule_text_json,
)
from lognode.api.spans.filters import url_parameters
from lognode.core.access import Action
from lognode.core.errors import CallerError
from lognode.core.limits import RULE_SET_BYTES_MAX, RULE_SETS_PAGE_MAX
from lognode.engine.service.ruling.publishing import Publishing, Wanted
from lognode.timeline.agreement.rules.publications import Media

RULES: Final = "/v1/tenants/<tenant>/rules"
YAML_MEDIA: Final = "application/yaml"
_MEDIAS: Final[dict[str, Media]] = {YAML_MEDIA: "yaml", JSON_MEDIA: "json"}
_ETAG: Final = re.compile(r'"([0-9a-f]{64})"')
_VERSION: Final = re.compile(r"[0-9a-f]{1,64}")
_DRY_RUN: Final = Parameter("dry_run", "'true': answer what would come of it, and write nothing")
_CONDITIONS: Final = (
    Parameter("If-Match", "The ETag of the version that has to be in force, else nothing changes"),
    Parameter("If-None-Match", "'*': nothing of this name may be in force, else nothing changes"),
)
_TEXT: Final = {"type": "string", "description": "A rule set; docs/rules.md."}


def register(app: ApiApp) -> None:
    """Add the routes about rule sets."""
    paging = [
        Parameter("after", "Begin behind this name; `next` of the page before"),
        Parameter("limit", f"How many at most, up to {RULE_SETS_PAGE_MAX}", int),
    ]
    docs = Docs(query=paging, answers={200: {JSON_MEDIA: RuleSetsJson}})
    app.register_route(RULES, list_rule_sets, action=Action.RULE_READ, docs=docs)
    changed = {status: {JSON_MEDIA: PublishedJson} for status in (200, 201)}
    docs = Docs(query=[_DRY_RUN], headers=_CONDITIONS, body={YAML_MEDIA: _TEXT, JSON_MEDIA: _TEXT}, answers=changed)
    app.register_route(RULES, publish_rule_set, methods=("POST",), action=Action.RULE_CHANGE, docs=docs)
    wanted = Parameter("version", "The beginning of its SHA-256; by default what is in force, or was last")
    docs = Docs(query=[wanted], answers={200: {JSON_MEDIA: RuleTextJson}})
    app.register_route(f"{RULES}/<rule_set>", show_rule_set, action=Action.RULE_READ, docs=docs)
    docs = Docs(query=[_DRY_RUN], headers=_CONDITIONS[:1], answers=changed)
    rule = f"{RULES}/<rule_set>"
    app.register_route(rule, disable_rule_set, methods=("DELETE",), action=Action.RULE_CHANGE, docs=docs)
    docs = Docs(answers={200: {JSON_MEDIA: VersionsJson}})
    app.register_route(f"{RULES}/<rule_set>/versions", list_versions, action=Action.RULE_READ, docs=docs)
    sides = [
        Parameter("from", "The earlier version, by the beginning of its SHA-256", is_required=True),
        Parameter("to", "The later version; by default what is in force, or was last"),
    ]
    docs = Docs(query=sides, answers={200: {JSON_MEDIA: DifferenceJson}})
    app.register_route(f"{RULES}/<rule_set>/diff", compare_versions, action=Action.RULE_READ, docs=docs)
    docs = Docs(query=[_DRY_RUN], headers=_CONDITIONS, body={JSON_MEDIA: RollbackJson}, answers=changed)
    rule = f"{RULES}/<rule_set>/rollback"
    app.register_route(rule, roll_back_rule_set, methods=("POST",), action=Action.RULE_CHANGE, docs=docs)


async def list_rule_sets() -> Response:
    """List the rule sets of the tenant by name, also those that are disabled or never counted."""
    caller, given = current(), _parameters("after", "limit")
    text = given.get("limit", str(RULE_SETS_PAGE_MAX))
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= limit <= RULE_SETS_PAGE_MAX:
        raise CallerError("filter.invalid", f"{text!r:.80} is no number from 1 to {RULE_SETS_PAGE_MAX}", place="limit")
    publishing = _publishing(caller)
    ruled = await publishing.now(caller.tenant)
    names = await publishing.names(caller.tenant, given.get("after", ""), limit)
    found = [(name, await publishing.last(caller.tenant, name, ruled)) for name in names]
    here = await publishing.here(caller.tenant, ruled)
    shown = [
        rule_set_json(name, version, ruled.sets.get(name), here.sets.get(name)) for name, version in found if version
    ]
    return json_answer(RuleSetsJson(shown, names[-1] if len(names) == limit else None))


async def publish_rule_set() -> Response:
    """Publish a rule set: it is in force from this node's next span on, and elsewhere once that is known there.

    The body is its text. A set of this name that is in force gives way to it. This takes a root member.
    """
    caller, is_trial, wanted = current(), _is_trial(), _wanted()
    media = _MEDIAS.get(request.headers.get("Content-Type", "").partition(";")[0].strip().lower())
    if media is None:
        raise CallerError("media.unsupported", f"a rule set comes as {' or '.join(_MEDIAS)}")
    # What is a little too large is named as such, with everything else that is wrong.
    text = await request.body.read(2 * RULE_SET_BYTES_MAX)  # type: ignore[attr-defined]
    published = await _publishing(caller).publish(caller.tenant, text, media, wanted=wanted, is_trial=is_trial)
    return _changed(published_json(published, is_trial=is_trial))


async def show_rule_set(rule_set: str) -> Response:
    """Show a version of a rule set with its text: what is in force, else the last that was. Its ETag names it."""
    caller, given = current(), _parameters("version")
    publishing = _publishing(caller)
    version, rules = await publishing.find(caller.tenant, rule_set, _version(given.get("version"), "version"))
    here = await publishing.here(caller.tenant, await publishing.now(caller.tenant))
    answer = json_answer(rule_text_json(version, rules, here.sets.get(rule_set)))
    answer.headers["ETag"] = f'"{rules.hash.hex()}"'
    return answer


async def disable_rule_set(rule_set: str) -> Response:
    """Have a rule set in force no more. Its versions stay, and one may be published again."""
    caller, is_trial, wanted = current(), _is_trial(), _wanted()
    disabled = await _publishing(caller).disable(caller.tenant, rule_set, wanted=wanted, is_trial=is_trial)
    return _changed(published_json(disabled, is_trial=is_trial))


async def list_versions(rule_set: str) -> Response:
    """List the newest publications of a rule set, the newest first, also those that have no effect, and why."""
    refuse_parameters()
    caller = current()
    found = await _publishing(caller).versions(caller.tenant, rule_set)
    return json_answer(VersionsJson(rule_set, [publication_json(version) for version in found]))


async def compare_versions(rule_set: str) -> Response:
    """Say what one version of a rule set changes of another, rule by rule."""
    caller, given = current(), _parameters("from", "to")
    if "from" not in given:
        raise CallerError("filter.invalid", "it is missing", place="from")
    publishing = _publishing(caller)
    _, earlier = await publishing.find(caller.tenant, rule_set, _version(given["from"], "from"))
    _, later = await publishing.find(caller.tenant, rule_set, _version(given.get("to"), "to"))
    changes = changes_json(earlier, later)
    return json_answer(DifferenceJson(rule_set, earlier.hash.hex(), later.hash.hex(), changes))


async def roll_back_rule_set(rule_set: str) -> Response:
    """Publish an earlier version of a rule set again."""
    caller, is_trial, wanted, asked = current(), _is_trial(), _wanted(), await read_json(RollbackJson)
    version = _version(asked.version, "version")
    assert version is not None
    published = await _publishing(caller).roll_back(caller.tenant, rule_set, version, wanted=wanted, is_trial=is_trial)
    return _changed(published_json(published, is_trial=is_trial))


def _publishing(caller: Caller) -> Publishing:
    services = caller.services
    return Publishing(services.store, services.writer, services.world, services.node_public)


def _changed(answer: PublishedJson) -> Response:
    response = json_answer(answer, 201 if answer.receipt else 200)
    if answer.version and not answer.dry_run:
        response.headers["ETag"] = f'"{answer.version}"'
    return response


def _parameters(*names: str) -> dict[str, str]:
    """The parameters of the URL, each once at most. Raises CallerError("filter.invalid")."""
    given = {}
    for name, values in url_parameters().items():
        if name not in names or len(values) > 1:
            detail = f"no such parameter here, or too often: {name!r:.80}"
            raise CallerError("filter.invalid", detail, place=f"{name:.80}")
        given[name] = values[0]
    return given


def _is_trial() -> bool:
    said = _parameters("dry_run").get("dry_run", "false")
    if said not in ("true", "false"):
        raise CallerError("filter.invalid", "it is true or false", place="dry_run")
    return said == "true"


def _wanted() -> Wanted:
    """What the request says has to be in force. Raises CallerError("version.malformed")."""
    match, none_match = request.headers.get("If-Match"), request.headers.get("If-None-Match")
    if none_match is not None and none_match.strip() != "*":
        raise CallerError("version.malformed", "If-None-Match takes * here", place="If-None-Match")
    tag = None if match is None else _ETAG.fullmatch(match.strip())
    if match is not None and tag is None:
        raise CallerError("version.malformed", f"{match!r:.80}", place="If-Match")
    return Wanted(bytes.fromhex(tag[1]) if tag else None, none_match is not None)


def _version(text: str | None, place: str) -> str | None:
    """The beginning of a version. Raises CallerError("version.malformed")."""
    if text is not None and not _VERSION.fullmatch(text):
        raise CallerError("version.malformed", f"{text!r:.80}", place=place)
    return text

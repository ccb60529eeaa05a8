"""Commands about rule sets: rule check, publish, list, show, diff, disable, rollback."""

from collections.abc import Callable, Mapping, Sequence
from difflib import unified_diff
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from lognode.cli.files import open_input
from lognode.cli.options import HERE, File, Flag, Target
from lognode.cli.output import print_json, print_rows, print_table, print_text, say
from lognode.cli.view.nodes import choose, short_key
from lognode.core.errors import CallerError
from lognode.core.limits import RULE_SET_BYTES_MAX

if TYPE_CHECKING:
    from lognode.client import Client
    from lognode.client.answers.rules import Changes, Publication, Published, RuleText

VERSION_CELLS: Final = 12  # of a version: enough to tell those of one set apart
_LATER: Final = (
    "This node decides by what stands under 'here' until it names what came from others, before its next span."
)
Media = Literal["yaml", "json"]
Made = TypeVar("Made")


def rule_check(file: File, /, *, media: Media | None = None, target: Target = HERE) -> int | None:
    """Say what is wrong with a rule set, without a node.

    Every mistake is told, with its line and column.

    Parameters
    ----------
    file
        The rule set, or - for stdin.
    media
        What it is written in; by default as the name of the file says, else YAML.

    Examples
    --------
    $ lognode rule check logins.yaml

    Notes
    -----
    Exit code 1 where something is wrong. Each mistake is a line FILE:LINE:COLUMN that editors take for a place.
    """
    from lognode.rules.evaluation.program import compile_rules
    from lognode.rules.grammar.reading import read_rule_set

    text, is_json = text_of(file), media_of(file, media) == "json"

    def check() -> dict[str, Any]:
        rules = read_rule_set(text, is_json=is_json)
        compile_rules([rules])
        return {"name": rules.name, "version": rules.hash.hex(), "rules": [rule.id for rule in rules.rules]}

    found = told(file, target, check)
    if found is None:
        return 1
    if target.json:
        print_json(found)
    else:
        count = len(found["rules"])
        print_text(f"{found['name']} is right: {count} rule{'s' if count != 1 else ''}.")
    return None


def rule_publish(
    file: File,
    /,
    *,
    media: Media | None = None,
    if_version: str | None = None,
    new: Flag = False,
    dry_run: Flag = False,
    target: Target = HERE,
) -> int | None:
    """Publish a rule set.

    It is in force from the next span on, in place of the one of its name. It takes a root member. Other members keep to
    it once it has come to them.

    Parameters
    ----------
    file
        The rule set, or - for stdin. Its name stands in it.
    media
        What it is written in; by default as the name of the file says, else YAML.
    if_version
        Only where this version is in force, or one that begins so.
    new
        Only where no rule set of this name is in force.
    dry_run
        Say what would change, and publish nothing.

    Examples
    --------
    $ lognode rule publish logins.yaml
    $ lognode rule publish logins.yaml --dry-run

    Notes
    -----
    Exit code 1 where the text has mistakes, 4 where this node is no root member, 5 where another version is in force.
    """
    text, written = text_of(file), media_of(file, media)
    with target.client() as client:

        def publish() -> "Published":
            wanted = _full_version(client, _name_of(text, written), if_version) if if_version else None
            return client.publish_rules(text, media=written, if_version=wanted, if_new=new, dry_run=dry_run)

        published = told(file, target, publish)
    if published is None:
        return 1
    _show_change(published, target)
    return None


def rule_list(*, target: Target = HERE) -> None:
    """List the rule sets of the tenant.

    Those that are disabled, or never counted, are among them.

    Examples
    --------
    $ lognode rule list
    """
    with target.client() as client:
        found = list(client.rule_sets())
    if target.json:
        print_json({"rules": found})
    elif not found:
        print_text("There are no rule sets; 'lognode rule publish FILE' publishes one.")
    else:
        is_elsewhere = any(each["here"] != (each["version"] if each["in_force"] else None) for each in found)
        rows = [
            (
                each["name"],
                _state_of(each["published"]),
                *((_short(each["here"]) or "nothing",) if is_elsewhere else ()),
                each["rules"] if each["in_force"] else "",
                _short(each["version"]),
                each["published"]["at"][:19],
                short_key(each["published"]["node"]),
                each["description"],
            )
            for each in found
        ]
        print_table(
            ("name", "state", *(("here",) if is_elsewhere else ()), "rules", "version", "since", "by", ""), rows
        )
        if is_elsewhere:
            say(_LATER)


def rule_show(
    name: str, /, *, version: str | None = None, versions: Flag = False, text: Flag = False, target: Target = HERE
) -> None:
    """Show a rule set with its text.

    It is the version in force, or the last that was, unless another one is named.

    Parameters
    ----------
    name
        Its name.
    version
        Another version, by the beginning of its hash.
    versions
        List all its versions, with those that have no effect and why.
    text
        Only the text, as its author wrote it.

    Examples
    --------
    $ lognode rule show logins
    $ lognode rule show logins --versions
    $ lognode rule show logins --version 4a99557e --text >logins.yaml
    """
    with target.client() as client:
        if versions:
            listed = client.rule_versions(name)
            print_json(listed) if target.json else _print_versions(listed["versions"])
            return
        found = client.rule_set(name, version)
    if target.json:
        print_json(found)
    elif text:
        print_text(found["text"].removesuffix("\n"))
    else:
        _print_rule_set(found)


def rule_diff(name: str, version: str, other: str | None = None, /, *, target: Target = HERE) -> None:
    """Say what one version of a rule set changes of another.

    Parameters
    ----------
    name
        Its name.
    version
        The earlier version, by the beginning of its hash.
    other
        The later one; what is in force, or was last, by default.

    Examples
    --------
    $ lognode rule diff logins 4a99557e
    $ lognode rule diff logins 4a99557e 1b2c3d4e
    """
    with target.client() as client:
        found = client.compare_rules(name, version, other)
        if target.json:
            print_json(found)
            return
        earlier, later = (client.rule_set(name, each) for each in (found["from"], found["to"]))
    _print_changes(found["changes"], "They say the same.")
    one, another = (f"{name} {_short(each)}" for each in (found["from"], found["to"]))
    for line in unified_diff(earlier["text"].splitlines(), later["text"].splitlines(), one, another, lineterm=""):
        print_text(line)


def rule_disable(name: str, /, *, if_version: str | None = None, dry_run: Flag = False, target: Target = HERE) -> None:
    """Have a rule set in force no more; its versions stay.

    Parameters
    ----------
    name
        Its name.
    if_version
        Only where this version is in force, or one that begins so.
    dry_run
        Say what would change, and change nothing.

    Examples
    --------
    $ lognode rule disable logins
    """
    with target.client() as client:
        wanted = _full_version(client, name, if_version) if if_version else None
        _show_change(client.disable_rules(name, if_version=wanted, dry_run=dry_run), target)


def rule_rollback(
    name: str, version: str, /, *, if_version: str | None = None, dry_run: Flag = False, target: Target = HERE
) -> None:
    """Publish an earlier version of a rule set again.

    Parameters
    ----------
    name
        Its name.
    version
        The version, by the beginning of its hash; 'lognode rule show NAME --versions' lists them.
    if_version
        Only where this version is in force, or one that begins so.
    dry_run
        Say what would change, and publish nothing.

    Examples
    --------
    $ lognode rule rollback logins 4a99557e
    """
    with target.client() as client:
        wanted = _full_version(client, name, if_version) if if_version else None
        _show_change(client.roll_back_rules(name, version, if_version=wanted, dry_run=dry_run), target)


def text_of(file: str) -> bytes:
    """The text in a file; of one that is far too large only so much that this is seen."""
    with open_input(file) as source:
        return source.read(2 * RULE_SET_BYTES_MAX)


def media_of(file: str, media: Media | None) -> Media:
    """What a file is written in: as somebody says, else as its name does."""
    return media or ("json" if file.lower().endswith(".json") else "yaml")


def _name_of(text: bytes, media: Media) -> str:
    """The name that stands in a text. Raises RuleSetFaults."""
    from lognode.rules.grammar.reading import read_rule_set

    return read_rule_set(text, is_json=media == "json").name


def told(file: str, target: Target, make: Callable[[], Made]) -> Made | None:
    """What `make` makes of a file; None where the text has mistakes, each of which was told in a line of its own."""
    try:
        return make()
    except CallerError as error:
        faults = error.extra.get("faults")
        if target.json or not isinstance(faults, list):
            error.extra["file"] = file
            raise
        for fault in faults:
            say(_fault_text("stdin" if file == "-" else file, fault))
        count = error.extra.get("count", len(faults))
        say(f"{count} mistake{'s' if count != 1 else ''}; nothing was published." if count else "")
        return None


def _fault_text(file: str, fault: Mapping[str, Any]) -> str:
    advice = f" ({fault['suggestion']})" if fault.get("suggestion") else ""
    return f"{file}:{fault['line']}:{fault['column']}: {fault['message']}{advice} [{fault['code']}]"


def _full_version(client: "Client", name: str, text: str) -> str:
    """The version of a rule set that a text is the beginning of. Raises CallerError("rule.unknown_version")."""
    known = {each["version"] for each in client.rule_versions(name)["versions"] if each["version"]}
    return choose(text, sorted(known), "rule.unknown_version")


def _show_change(published: "Published", target: Target) -> None:
    if target.json:
        print_json(published)
        return
    version, before, receipt = published["version"], published["before"], published["receipt"]
    rows = {
        "Rule set": published["name"],
        "In force": _short(version) or "nothing",
        "Before": _short(before) or "nothing",
    }
    if receipt is not None:
        rows["By"] = receipt["id"]
    print_rows(rows)
    if published["changes"] is not None:
        _print_changes(published["changes"], "Its rules are as they were.")
    if published["dry_run"]:
        say("Nothing was published: this was a trial.")
    elif receipt is None:
        say("That is so already; nothing was published.")


def _print_changes(changes: "Changes", nothing: str) -> None:
    signs = {"added": "+", "removed": "-", "changed": "~"}
    for each in changes["rules"]:
        fields = f": {', '.join(each['fields'])}" if each["fields"] else ""
        print_text(f"{signs[each['change']]} {each['rule']}{fields}")
    for field in changes["fields"]:
        print_text(f"~ the set's {field}")
    if not changes["rules"] and not changes["fields"]:
        print_text(nothing)


def _print_rule_set(found: "RuleText") -> None:
    rows = {
        "Rule set": found["name"],
        "State": _state_of(found["published"]),
        "Version": found["version"],
        "Published": f"{found['published']['at'][:19]} by {short_key(found['published']['node'])}",
        "By": found["published"]["span"],
    }
    if (found["here"] == found["version"]) != found["in_force"]:
        rows["Here"] = _short(found["here"]) or "nothing"
        say(_LATER)
    print_rows({**rows, "Description": found["description"]} if found["description"] else rows)
    rules = [
        (rule["id"], rule["on"], ", ".join(rule["kinds"]) or "any", rule["priority"], rule["description"])
        for rule in found["rules"]
    ]
    print_table(("rule", "on", "kinds", "priority", ""), rules, apart=True)
    print_text("")
    print_text(found["text"].removesuffix("\n"))


def _print_versions(versions: "Sequence[Publication]") -> None:
    rows = [
        (
            each["version"] or "disabled",
            _state_of(each),
            each["at"][:19],
            short_key(each["node"]),
            each["span"],
        )
        for each in versions
    ]
    print_table(("version", "state", "at", "by", "span"), rows)


def _state_of(published: "Publication") -> str:
    if published["in_force"]:
        return "in force"
    if published["void"]:
        return f"void: {published['void']}"
    return "disabled" if published["version"] is None else "earlier"


def _short(version: str | None) -> str:
    return version[:VERSION_CELLS] if version else ""

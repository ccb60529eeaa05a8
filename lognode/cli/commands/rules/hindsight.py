"""Commands that look at what rules decided: rule recheck, why-not; and at what others would decide: rule test."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from lognode.cli.commands.rules.publishing import Media, media_of, text_of, told
from lognode.cli.options import FILTER_GROUP, HERE, File, Flag, Target, Texts, moment
from lognode.cli.output import print_json, print_rows, print_table, print_text, progress, say
from lognode.cli.view.nodes import short_key
from lognode.core.errors import CallerError, NodeFault

if TYPE_CHECKING:
    from lognode.client.answers.rules import Decision, Report

Moment = Annotated[datetime | None, Parameter(converter=moment, group=FILTER_GROUP)]
Kinds = Annotated[Texts, Parameter(group=FILTER_GROUP)]
VERSION_CELLS: Final = 12
_ANSWERS: Final = {
    "same": "What was decided is what had to be.",
    "withheld": "This cannot be told here.",
    "altered": "What was decided is not what had to be.",
}


def rule_recheck(span_id: str, /, *, target: Target = HERE) -> int | None:
    """Decide about a span again, and compare with what is told of it.

    Any member that holds what the span's node had named finds the same. It looks at what rules noted on the span, at
    the firings that tell of it, and at what rules emitted.

    Parameters
    ----------
    span_id
        Its id.

    Examples
    --------
    $ lognode rule recheck 06h0fd5j2g001mkxjf93ds4h1z0we1tqhq9nrg0

    Notes
    -----
    Exit code 1 where a node wrote something else than it had to, whom it then names.
    """
    with target.client() as client:
        found = client.decision(span_id, recheck=True)
    again = found["recheck"]
    assert again is not None
    if target.json:
        print_json(found)
    else:
        print_rows({"Span": found["span"], "Answer": again["answer"], "Rule sets": _versions(found)})
        print_text(_ANSWERS[again["answer"]])
        for lacking in again["lacks"]:
            print_text(f"  {lacking}")
        for altered in again["altered"]:
            for one in altered["differences"]:
                print_text(f"{short_key(altered['node'])} wrote {one['where']}: {one['said']!r}, not {one['due']!r}")
    return 1 if again["answer"] == "altered" else None


def why_not(rule: str, span_id: str, /, *, target: Target = HERE) -> None:
    """Say why a rule did not fire for a span.

    It names the first condition that did not hold, with the values that it read. Where the rule did fire, it says why.

    Parameters
    ----------
    rule
        The rule, as SET/ID.
    span_id
        The id of the span; of a draft that was rejected, or waits, of the rule.fired that tells of it.

    Examples
    --------
    $ lognode why-not brute-force/too-many 06h0fd5j2g001mkxjf93ds4h1z0we1tqhq9nrg0
    """
    name, slash, id_ = rule.partition("/")
    if not (name and slash and id_):
        raise CallerError("usage.invalid", "it is written as SET/ID", place="RULE")
    with target.client() as client:
        account = client.why_not(span_id, name, id_)
    print_json(account) if target.json else print_text(account["sentence"])


def rule_test(
    file: File,
    /,
    *,
    media: Media | None = None,
    since: Moment = None,
    until: Moment = None,
    kind: Kinds = (),
    alone: Flag = False,
    target: Target = HERE,
) -> int | None:
    """Try a rule set on what is stored.

    Nothing is written. It judges beside the other rule sets in force, and says what differs from the version of its
    name that is in force. What rules emit is judged in turn, as if it stood right behind its cause; what they schedule
    is counted.

    Parameters
    ----------
    file
        The file; - is stdin.
    media
        yaml or json; by default as the file's name says, else yaml.
    since
        Judge what happened from this time on: 2h or 3d ago, a date, or an RFC 3339 time.
    until
        Judge what happened before this time.
    kind
        Judge spans of this kind, or below it as in order.*; again for any of several. What is not judged is the past of
        what is.
    alone
        Judge by this rule set alone.

    Examples
    --------
    $ lognode rule test logins.yaml --since 7d

    Notes
    -----
    Exit code 1 where the text has mistakes, 75 where others try rule sets already.
    """
    text, written = text_of(file), media_of(file, media)
    with target.client() as client:

        def run() -> "Report":
            times = [at.isoformat() if at else None for at in (since, until)]
            trial = client.backtest(text, media=written, since=times[0], until=times[1], kinds=kind, alone=alone)
            with progress("Trying") as show, trial as lines:
                for line in lines:
                    if "report" in line:
                        return line["report"]
                    if "total" in line:
                        show(line["done"], line["total"])
            raise NodeFault("client.protocol", "the node broke the trial off")

        report = told(file, target, run)
    if report is None:
        return 1
    print_json(report) if target.json else _print_report(report)
    return None


def _versions(found: "Decision") -> str:
    return ", ".join(f"{name} {version[:VERSION_CELLS]}" for name, version in found["sets"].items()) or "none"


def _print_report(report: "Report") -> None:
    spent_s = report["evaluating_s"]
    rows = {
        "Rule set": f"{report['name']} {report['version'][:VERSION_CELLS]}",
        "Beside": ", ".join(report["beside"]) or "no others",
        "Judged": f"{report['spans']} spans",
        "Verdicts": _counts(report["verdicts"]),
        "Would emit": _counts(report["emits"]),
        "Later": f"{report['later']} tasks and schedules",
        "Cost": f"{report['evaluations']} evaluations in {spent_s:.2f} s"
        + (f", {report['evaluations'] / spent_s:,.0f} a second" if spent_s else ""),
    }
    if report["refused"]:
        rows["Kept out"] = f"{report['refused']} that it would emit"
    if report["cut"]:
        rows["Not followed"] = f"{report['cut']} spans from which too much follows"
    print_rows(rows)
    rules = [
        (one["rule"], one["on"], one["fired"], one["failed"], one["examples"][0] if one["examples"] else "")
        for one in report["rules"]
    ]
    print_table(("rule", "on", "fired", "failed", "first"), rules, apart=True)
    if report["against"] is None:
        say("Nothing of this name is in force to compare with.")
    elif not report["changes"]:
        print_text(f"\nIt decides as {report['against'][:VERSION_CELLS]} does, which is in force.")
    else:
        changes = [(one["change"], one["count"], one["examples"][0]) for one in report["changes"]]
        title = f"against {report['against'][:VERSION_CELLS]}, in force"
        print_table((title, "spans", "first"), changes, apart=True)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"

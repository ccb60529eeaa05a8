"""The `lognode` command: its commands by name, and what its exit code says.

0 done, 1 failed, 2 wrong usage, 3 node not running, 4 not allowed, 5 conflict, 75 try again later; 130
interrupted, 141 when nobody reads what it prints. Commands import what they need when they run, so that
`lognode --help` answers at once.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import chain, takewhile
from typing import Any, Final, NamedTuple

from cyclopts import App, CycloptsError, Group
from cyclopts.exceptions import UnusedCliTokensError

from lognode import __version__
from lognode.cli.commands.completion import completion
from lognode.cli.commands.config import config_check, config_show
from lognode.cli.commands.daemon import id_show, init, next_steps, status, up
from lognode.cli.commands.evidence.checking import check_proof, prove, verify
from lognode.cli.commands.evidence.forks import check_fork, fork_export, fork_list, fork_show
from lognode.cli.commands.evidence.order import relation
from lognode.cli.commands.evidence.policy import member_policy
from lognode.cli.commands.evidence.simulation import sim
from lognode.cli.commands.federation.identity import id_recovery_create, id_revoke, id_rotate
from lognode.cli.commands.federation.invites import invite_create, invite_list, invite_revoke
from lognode.cli.commands.federation.join import join
from lognode.cli.commands.federation.members import (
    member_approve,
    member_level,
    member_list,
    member_pending,
    member_remove,
)
from lognode.cli.commands.federation.peers import peers
from lognode.cli.commands.federation.sync import sync, sync_status
from lognode.cli.commands.keeping.backup import backup_create, backup_restore, backup_verify
from lognode.cli.commands.keeping.bundle import bundle_create, bundle_import, bundle_verify
from lognode.cli.commands.rules.approvals import approval_deny, approval_grant, approval_list, approval_show
from lognode.cli.commands.rules.hindsight import rule_recheck, rule_test, why_not
from lognode.cli.commands.rules.later import schedule_create, task_create
from lognode.cli.commands.rules.publishing import (
    rule_check,
    rule_diff,
    rule_disable,
    rule_list,
    rule_publish,
    rule_rollback,
    rule_show,
)
from lognode.cli.commands.rules.tasks import (
    schedule_delete,
    schedule_list,
    schedule_pause,
    schedule_resume,
    task_cancel,
    task_list,
    task_pause,
    task_resume,
    task_retry,
    task_show,
)
from lognode.cli.commands.spans.conflicts import conflict_list, conflict_policy, conflict_resolve
from lognode.cli.commands.spans.read import log, show, tail, why
from lognode.cli.commands.spans.subjects import revert, state_rebuild, subject
from lognode.cli.commands.spans.subscriptions import (
    subscription_create,
    subscription_delete,
    subscription_list,
    subscription_parked,
    subscription_read,
    subscription_replay,
    subscription_show,
)
from lognode.cli.commands.spans.transfer import export, replay
from lognode.cli.commands.spans.write import append, import_file
from lognode.cli.manual import epilogue_of, examples_of, examples_text, help_of
from lognode.cli.output import flush, print_problem
from lognode.core.errors import ERRORS, CallerError, LognodeError, NodeFault

EXIT_FAILURE: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_RUNNING: Final = 3
EXIT_NOT_ALLOWED: Final = 4
EXIT_CONFLICT: Final = 5
EXIT_TRY_LATER: Final = 75  # EX_TEMPFAIL
EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT
EXIT_PIPE: Final = 141  # 128 + SIGPIPE

_USAGE_CODES: Final = frozenset(
    {"usage.invalid", "filter.invalid", "settings.invalid", "settings.unknown", "listen.invalid"}
)
# Of a value on the command line, unless the error names a file or a line of one.
_VALUE_CODES: Final = frozenset(
    {"id.malformed", "kind.invalid", "kind.reserved", "draft.invalid", "idempotency.invalid", "vkey.malformed"}
    | {"policy.malformed", "version.malformed"}
    | {"invite.malformed", "invite.incomplete", "invite.altered", "invite.terms"}
    | {code for code in ERRORS if code.startswith("json.")}
)
# Options that may also stand before the command, and whether a value follows them.
_GLOBAL_OPTIONS: Final = {
    "--json": False,
    "--data-dir": True,
    "--url": True,
    "--token-file": True,
    "--tenant": True,
}


SUMMARY: Final = "Keep a timeline that anyone can check: what was done, by whom, on what grounds, and what followed."


class Family(NamedTuple):
    """Commands of two words, such as `id show`, that share their first, and what that does alone.

    A member may be a family again.
    """

    summary: str
    commands: "Mapping[str, Callable[..., Any] | Family]"
    alone: Callable[..., Any] | None = None


# Every command, by its name, in the groups and the order of `lognode --help`.
COMMANDS: Final[Mapping[str, Mapping[str, Callable[..., Any] | Family]]] = {
    "The node": {
        "up": up,
        "init": init,
        "status": status,
        "id": Family(
            "Say who this node is, or change it.",
            {
                "show": id_show,
                "rotate": id_rotate,
                "revoke": id_revoke,
                "recovery": Family("Keep a way back to a node whose key is lost.", {"create": id_recovery_create}),
            },
        ),
        "config": Family("Show or check the settings.", {"show": config_show, "check": config_check}),
    },
    "Recording": {"append": append, "import": import_file},
    "Reading": {"log": log, "tail": tail, "show": show, "why": why, "why-not": why_not, "relation": relation},
    "Checking": {
        "verify": verify,
        "prove": prove,
        "check-proof": check_proof,
        "fork": Family(
            "List, show or prove feeds with two histories.",
            {"list": fork_list, "show": fork_show, "export": fork_export},
        ),
        "check-fork": check_fork,
        "sim": sim,
    },
    "Keeping": {
        "backup": Family(
            "Make, verify or restore a backup.",
            {"create": backup_create, "verify": backup_verify, "restore": backup_restore},
        ),
        "bundle": Family(
            "Take spans along with their proofs.",
            {"create": bundle_create, "verify": bundle_verify, "import": bundle_import},
        ),
        "export": export,
        "replay": replay,
    },
    "Other nodes": {
        "invite": Family(
            "Make, list or revoke invites.",
            {"create": invite_create, "list": invite_list, "revoke": invite_revoke},
        ),
        "join": join,
        "peers": peers,
        "member": Family(
            "List, change, approve or remove members, or name witnesses.",
            {
                "list": member_list,
                "level": member_level,
                "remove": member_remove,
                "pending": member_pending,
                "approve": member_approve,
                "policy": member_policy,
            },
        ),
        "sync": Family("Bring this node and others into agreement.", {"status": sync_status}, sync),
    },
    "What holds": {
        "subject": subject,
        "conflict": Family(
            "List or decide conflicts, or say how they are settled.",
            {"list": conflict_list, "resolve": conflict_resolve, "policy": conflict_policy},
        ),
        "revert": revert,
        "state": Family("Look after what state is read from.", {"rebuild": state_rebuild}),
    },
    "Later": {
        "task": Family(
            "Create, list, show, cancel, retry or pause what is done later.",
            {
                "create": task_create,
                "list": task_list,
                "show": task_show,
                "cancel": task_cancel,
                "retry": task_retry,
                "pause": task_pause,
                "resume": task_resume,
            },
        ),
        "schedule": Family(
            "Create, list, pause or delete what is due again and again.",
            {
                "create": schedule_create,
                "list": schedule_list,
                "pause": schedule_pause,
                "resume": schedule_resume,
                "delete": schedule_delete,
            },
        ),
        "subscription": Family(
            "Make, list, show, read, replay or delete named subscriptions.",
            {
                "create": subscription_create,
                "list": subscription_list,
                "show": subscription_show,
                "delete": subscription_delete,
                "read": subscription_read,
                "parked": subscription_parked,
                "replay": subscription_replay,
            },
        ),
    },
    "Rules": {
        "rule": Family(
            "Check, try, publish, list, show, compare or disable rule sets.",
            {
                "check": rule_check,
                "test": rule_test,
                "publish": rule_publish,
                "list": rule_list,
                "show": rule_show,
                "diff": rule_diff,
                "disable": rule_disable,
                "rollback": rule_rollback,
                "recheck": rule_recheck,
            },
        ),
        "approval": Family(
            "List, show, grant or deny what waits for approval.",
            {
                "list": approval_list,
                "show": approval_show,
                "grant": approval_grant,
                "deny": approval_deny,
            },
        ),
    },
    "This shell": {"completion": completion},
}


def build_app() -> App:
    """All commands."""
    options = Group.create_ordered("Options", sort_key=0)
    app = App(
        name="lognode",
        help=SUMMARY,
        help_epilogue=epilogue_of(next_steps),
        help_format="plaintext",
        group_parameters=options,
        version=__version__,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    app.default(next_steps)
    for title, commands in COMMANDS.items():
        group = Group.create_ordered(title, sort_key=0)
        for number, (name, command) in enumerate(commands.items()):
            _add(app, options, name, command, sort_key=number, group=group)
    app["--help"].group = app["--version"].group = Group.create_ordered("Help", sort_key=2)
    return app


def _add(app: App, options: Group, name: str, command: Callable[..., Any] | Family, **place: Any) -> None:
    if not isinstance(command, Family):
        app.command(command, name=name, help=help_of(command), help_epilogue=epilogue_of(command), **place)
        return
    summary = help_of(command.alone) if command.alone else command.summary
    family = App(name=name, help=summary, help_epilogue=_epilogue(command), group_parameters=options, **place)
    if command.alone is not None:
        family.default(command.alone)
    for number, (word, member) in enumerate(command.commands.items()):
        _add(family, options, word, member, sort_key=number)
    app.command(family)


def _epilogue(family: Family) -> str:
    """The examples of a family's members, behind what is to be said of the family alone."""
    examples = chain.from_iterable(map(examples_of, _leaves(family)))
    return examples_text(examples) if family.alone is None else epilogue_of(family.alone, examples)


def _leaves(family: Family) -> Iterator[Callable[..., Any]]:
    for member in family.commands.values():
        if isinstance(member, Family):
            yield from _leaves(member)
        else:
            yield member


def run(arguments: Sequence[str]) -> int:
    """The exit code of one command."""
    tokens = _globals_last(list(arguments))
    as_json = "--json" in tokens
    app = build_app()
    try:
        _check_helped(app, tokens)
        code = app(tokens, exit_on_error=False, print_error=False)
        flush()
    except CycloptsError as error:
        print_problem(_usage_error(app, error), as_json=as_json)
        return EXIT_USAGE
    except LognodeError as error:
        print_problem(error, as_json=as_json)
        return exit_code(error)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read has enough. Python would complain again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    except OSError as error:
        print_problem(_system_error(error), as_json=as_json)
        return EXIT_FAILURE
    return code if isinstance(code, int) else 0


def _check_helped(app: App, tokens: Sequence[str]) -> None:
    """Pass unless help is asked for a command that there is not. Raises CallerError("usage.invalid")."""
    words = list(takewhile(lambda token: not token.startswith("-"), tokens))
    if not {"--help", "-h"} & set(tokens):
        return
    for number, word in enumerate(words):
        if word not in app:
            near = get_close_matches(word, [name for name in app if not name.startswith("-")], n=1)
            if not number or app.default_command is None:  # a command alone may take a word
                command = " ".join(("lognode", *words[:number]))
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise CallerError("usage.invalid", f"there is no command {word!r}{hint} ('{command} --help' shows how)")
            return
        app = app[word]


def exit_code(error: LognodeError) -> int:
    """What the exit code says of an error."""
    if error.code == "client.unreachable":
        return EXIT_NOT_RUNNING
    if error.code in _USAGE_CODES or (error.code in _VALUE_CODES and not {"line", "file"} & error.extra.keys()):
        return EXIT_USAGE
    if error.spec.status in (401, 403):
        return EXIT_NOT_ALLOWED
    if error.spec.status in (409, 412):
        return EXIT_CONFLICT
    return EXIT_TRY_LATER if error.spec.retryable else EXIT_FAILURE


def _globals_last(tokens: list[str]) -> list[str]:
    """The tokens with the options that stand before the command moved behind it."""
    moved = list[str]()
    while tokens and (option := tokens[0].partition("=")[0]) in _GLOBAL_OPTIONS:
        takes_next = _GLOBAL_OPTIONS[option] and "=" not in tokens[0]
        moved += tokens[: 1 + takes_next]
        tokens = tokens[1 + takes_next :]
    end = tokens.index("--") if "--" in tokens else len(tokens)
    return tokens[:end] + moved + tokens[end:]


def _usage_error(app: App, error: CycloptsError) -> CallerError:
    command = " ".join(("lognode", *(error.command_chain or ())))
    detail = str(error)
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        word = error.unused_tokens[0]
        near = get_close_matches(word, [name for name in app if not name.startswith("-")], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        detail = f"{word!r} is a word too many" if error.command_chain else f"there is no command {word!r}{hint}"
    return CallerError("usage.invalid", f"{detail} ('{command} --help' shows how)")


def _system_error(error: OSError) -> NodeFault:
    where = f"{error.filename}: " if error.filename else ""
    return NodeFault("system.failed", f"{where}{error.strerror or error}")

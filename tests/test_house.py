"""The project keeps its house rules, and each rule finds the sample that breaks it."""

import ast
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import trio
from cyclopts import App
from prometheus_client import CollectorRegistry

from lognode.api.app import create_app
from lognode.api.server.door.access import PUBLIC_PATHS
from lognode.api.services import Services
from lognode.cli.main import build_app
from lognode.core.errors import ERRORS
from lognode.core.world import World
from lognode.engine.service.meters import Meters
from lognode.service.reload import Configuration
from lognode.settings import Settings
from tests.house import (
    ROOT,
    find_crowded,
    find_impurities,
    find_large,
    find_layer_breaks,
    find_loose_codes,
    find_open_routes,
    find_undeclared,
    find_undocumented,
    find_unused,
    find_vague_names,
    modules_below,
    parse,
)

LOGNODE: Final = modules_below("lognode")
TESTS: Final = [*modules_below("tests"), *modules_below("scripts")]


class RouteSeen(NamedTuple):
    """A route of the application, with {} for each of its parameters."""

    methods: tuple[str, ...]
    path: str
    has_action: bool


def read(*names: str) -> str:
    """The text of those files that exist."""
    paths = [ROOT / name for name in names]
    return "\n".join(path.read_text("utf-8") for path in paths if path.exists())


def declared_dependencies(extra: str = "") -> set[str]:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    lines = project["dependencies"] + project["optional-dependencies"].get(extra, [])
    return {re.split(r"[^a-z0-9-]", line.lower())[0] for line in lines}


def registered_routes() -> list[RouteSeen]:
    """The routes of the application, made from every `register` that the API has."""
    nothing: Any = None  # in place of the parts that only a request needs
    services = Services(
        world=World(lambda: 0, lambda: 0.0, bytes),
        settings=Configuration(Settings(data_dir=Path())),
        store=nothing,
        writer=nothing,
        heads=nothing,
        supervisor=nothing,
        notices=nothing,
        tasks=nothing,
        subscriptions=nothing,
        links=nothing,
        discovery=nothing,
        desk=nothing,
        meters=Meters(CollectorRegistry()),
        node_public=bytes(32),
        admin_token=b"token",
        started_s=0.0,
        version="0",
        stopping=trio.Event(),
    )
    registering = [
        module.name
        for module in modules_below("lognode/api")
        if any(isinstance(node, ast.FunctionDef) and node.name == "register" for node in module.tree.body)
    ]
    app = create_app(services, [import_module(name).register for name in registering])
    # All that can be reached, also what was put in by another way than register_route.
    return [
        RouteSeen(
            tuple(sorted((rule.methods or set()) - {"HEAD"})),  # what GET does, without the body
            re.sub(r"<[a-z_:]+>", "{}", rule.rule),
            rule.endpoint in app.routes and app.routes[rule.endpoint].action is not None,
        )
        for rule in app.url_map.iter_rules()
    ]


def commands_of(app: App, *path: str) -> Iterator[str]:
    """Every command as one types it."""
    for name in app:
        if not name.startswith("-"):
            below = list(commands_of(app[name], *path, name))
            yield from below or [" ".join(("lognode", *path, name))]


def judge(findings: Iterable[str]) -> None:
    found = list(dict.fromkeys(findings))
    if found:
        pytest.fail("\n" + "\n".join(found), pytrace=False)


def test_modules_import_only_what_their_layer_may() -> None:
    judge(find_layer_breaks(LOGNODE))


def test_pure_modules_neither_wait_nor_touch_the_world() -> None:
    judge(find_impurities(LOGNODE))


def test_modules_and_functions_fit_on_a_few_screens() -> None:
    judge(find_large(LOGNODE + TESTS))


def test_packages_hold_few_modules() -> None:
    judge(find_crowded(LOGNODE))


def test_modules_are_named_for_a_noun() -> None:
    judge(find_vague_names(LOGNODE))


def test_third_party_imports_are_the_declared_dependencies() -> None:
    judge(find_undeclared(LOGNODE, declared_dependencies()))
    judge(find_undeclared(TESTS, declared_dependencies("dev")))
    judge(find_unused(LOGNODE, declared_dependencies()))


def test_error_codes_raised_are_the_error_codes_of_the_table() -> None:
    judge(find_loose_codes(LOGNODE, ERRORS))


def test_every_error_code_is_documented() -> None:
    judge(find_undocumented("error code", ERRORS, read("docs/errors.md", "docs/operating.md"), "docs/errors.md"))


def test_every_setting_is_documented() -> None:
    names = [f"# {field.name} =" for field in fields(Settings)]
    judge(find_undocumented("setting", names, read("config/lognode.toml"), "config/lognode.toml"))


def test_every_route_asks_allow_or_is_one_of_the_public_four() -> None:
    routes = registered_routes()

    assert len(PUBLIC_PATHS) == 4
    judge(find_open_routes(((route.path, route.has_action) for route in routes), PUBLIC_PATHS))


def test_every_route_is_documented() -> None:
    names = [f"{method} {route.path}" for route in registered_routes() for method in route.methods]
    text = re.sub(r"{[a-z_]+}", "{}", read("docs/protocol.md"))
    judge(find_undocumented("route", names, text, "docs/protocol.md"))


def test_every_command_is_documented() -> None:
    judge(find_undocumented("command", commands_of(build_app()), read("README.md", "docs/cli.md"), "docs/cli.md"))


SAMPLES: Final[Mapping[str, tuple[Callable[[], Iterable[str]], str]]] = {
    "a wrong layer": (
        lambda: find_layer_breaks([parse("lognode.core.x", "from lognode.identity.keys import NodeKeys")]),
        "imports lognode.identity.keys.NodeKeys; core may import nothing",
    ),
    "a wrong layer, deferred": (
        lambda: find_layer_breaks([parse("lognode.engine.x", "def f():\n    import lognode.api.app")]),
        "lognode.engine.x:2 imports lognode.api.app",
    ),
    "a wrong layer, by importlib": (
        lambda: find_layer_breaks([parse("lognode.client.x", "import_module('lognode.node')")]),
        "imports lognode.node",
    ),
    "a computed import": (
        lambda: find_layer_breaks([parse("lognode.cli.x", "importlib.import_module(name)")]),
        "write the name out",
    ),
    "a new layer": (lambda: find_layer_breaks([parse("lognode.extras.x", "")]), "no such layer"),
    "a pure module that waits": (
        lambda: find_impurities([parse("lognode.engine.x", "def f():\n    from time import sleep")]),
        "lognode.engine.x:2 is pure code and imports time.sleep",
    ),
    "a pure module that opens a file": (
        lambda: find_impurities([parse("lognode.timeline.x", "open('f')")]),
        "calls open()",
    ),
    "a pure module that asks the clock": (
        lambda: find_impurities([parse("lognode.core.x", "datetime.now(UTC)")]),
        "calls now()",
    ),
    "a pure module on top of an impure one": (
        lambda: find_impurities(
            [parse("lognode.engine.x", "from lognode.engine.store.y import z"), parse("lognode.engine.store.y", "")]
        ),
        "imports lognode.engine.store.y.z",
    ),
    "a long module": (lambda: find_large([parse("lognode.core.x", "\n" * 401)]), "has 401 lines, at most 400"),
    "a long function": (
        lambda: find_large([parse("lognode.core.x", "def f():\n" + "    pass\n" * 60)]),
        "lognode.core.x:1 f has 61 lines, at most 60",
    ),
    "a crowded package": (
        lambda: find_crowded([parse(f"lognode.core.x.y{number}", "") for number in range(10)]),
        "lognode.core.x has 10 modules, at most 9",
    ),
    "a module without a noun": (lambda: find_vague_names([parse("lognode.api.utils", "")]), "'utils' says nothing"),
    "an undeclared import": (
        lambda: find_undeclared([parse("lognode.api.x", "import trio.abc")], []),
        "imports from trio; declare it",
    ),
    "a needless dependency": (lambda: find_unused([], ["httpx"]), "nothing imports httpx; delete it"),
    "a code without a row": (
        lambda: find_loose_codes([parse("lognode.core.x", "raise CallerError('no.such')")], []),
        "raises 'no.such'; enter it",
    ),
    "a row without use": (lambda: find_loose_codes([], ["no.such"]), "nothing raises 'no.such'; delete it"),
    "an open route": (
        lambda: find_open_routes([("/livez", False), ("/v1/x", False)], ["/livez"]),
        "/v1/x has no Action",
    ),
    "an undocumented route": (
        lambda: find_undocumented("route", ["GET /v1/x"], "`GET /v1/x/{id}` and `GET /v1/x.y`", "docs/api.md"),
        "route GET /v1/x is not documented; describe it in docs/api.md",
    ),
    "an undocumented code": (
        lambda: find_undocumented("error code", ["a.b"], "`a.b.c`, `x.a.b` and `a.bc`", "docs/errors.md"),
        "error code a.b is not documented",
    ),
}


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_check_finds(sample: str) -> None:
    check, finding = SAMPLES[sample]
    found = list(check())
    assert len(found) == 1
    assert finding in found[0]


def test_a_check_accepts_what_keeps_the_rules() -> None:
    good = parse("lognode.engine.x", "from lognode.core.errors import CallerError\nraise CallerError('a.b')")

    judge(find_layer_breaks([good]))
    judge(find_impurities([good]))
    judge(find_large([good]))
    judge(find_loose_codes([good], ["a.b"]))
    judge(find_open_routes([("/v1/x", True), ("/livez", False)], ["/livez"]))
    judge(find_undocumented("route", ["GET /v1/x"], "See `GET /v1/x?y=z`, or GET /v1/x.", "docs/api.md"))

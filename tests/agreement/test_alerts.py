"""What the owner was told of own feeds: told after a restart too, and no longer than is written."""

import sqlite3
from pathlib import Path

from lognode.core.limits import ALERTS_KEPT_S
from lognode.engine.service.agreement.alerts import Alerts
from lognode.engine.service.agreement.doubts import Beginning
from lognode.timeline.agreement.alerts import Alert
from lognode.timeline.store.audit import audit
from tests.agreement.test_doubts import MARK
from tests.engine.nodes import Engine, Wall, run_engine


def told(engine: Engine) -> list[tuple[str, int]]:
    return [(alert.code, alert.times) for alert in engine.writer.alerts.of(engine.tenant)]


async def test_a_copy_is_told_of_after_further_starts_until_a_month_after_it_was_noticed(tmp_path: Path) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall):
        pass
    async with run_engine(tmp_path, wall, beginning=Beginning("moved", MARK)) as engine:
        (first,) = engine.writer.alerts.of(engine.tenant)
    for _ in range(2):
        async with run_engine(tmp_path, wall) as engine:
            assert list(engine.writer.alerts.of(engine.tenant)) == [first]
            assert audit_of(tmp_path) == []
    wall.ms += 1000 * ALERTS_KEPT_S - 1
    async with run_engine(tmp_path, wall) as engine:
        assert told(engine) == [("identity.copied", 1)]
        wall.ms += 1
        assert told(engine) == []
    async with run_engine(tmp_path, wall) as engine:
        assert told(engine) == []


async def test_what_comes_again_after_a_restart_is_counted_on_and_ends_later(tmp_path: Path) -> None:
    wall = Wall()
    for day in range(3):
        async with run_engine(tmp_path, wall, ("default", "other")) as engine:
            await engine.writer.note_clone(engine.tenant, f"on day {day}")
            assert told(engine) == [("identity.cloned", day + 1)]
            assert not engine.writer.alerts.of(engine.store.tenants["other"])
        wall.ms += 1000 * ALERTS_KEPT_S // 2
    async with run_engine(tmp_path, wall) as engine:
        assert [alert.detail for alert in engine.writer.alerts.of(engine.tenant)] == ["on day 2"]
        wall.ms += 1000 * ALERTS_KEPT_S
        await engine.writer.note_clone(engine.tenant, "once more")
        assert told(engine) == [("identity.cloned", 1)]


async def test_an_alert_that_is_damaged_is_not_told_and_an_audit_names_it(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        await engine.writer.note_clone(engine.tenant, "detail")
    with sqlite3.connect(tmp_path / "lognode.db") as conn:
        conn.execute("UPDATE alerts SET code = 'feed.forked'")
    conn.close()
    async with run_engine(tmp_path) as engine:
        assert told(engine) == []
        assert audit_of(tmp_path) == [("alert.wrong", "alerts tenant 0 code feed.forked")]


async def test_what_cannot_be_stored_is_told_all_the_same(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        await engine.store.write(lambda conn: conn.execute("DROP TABLE alerts"))
        alerts, heard = Alerts(engine.store, Wall().world()), list[Alert]()
        alerts.heed = lambda _tenant, alert: heard.append(alert)
        await alerts.tell(engine.tenant, "feed.restored", "detail", 3)
        assert [alert[:3] for alert in heard] == [("feed.restored", "detail", 3)]
        assert alerts.of(engine.tenant) == heard


def audit_of(folder: Path) -> list[tuple[str, str]]:
    conn = sqlite3.connect(folder / "lognode.db")
    try:
        return [(finding.code, finding.place) for finding in audit(conn)]
    finally:
        conn.close()

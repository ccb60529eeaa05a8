"""What is wrong with a cron expression. Five fields, as Debian's cron has them, in UTC."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from cronsim import CronSim, CronSimError

from lognode.core.limits import RULE_CRONS_MAX

_FIELDS: Final = 5
_START: Final = datetime(2024, 1, 1, tzinfo=UTC)  # any; a leap year, so that 29 February is near


@lru_cache(maxsize=RULE_CRONS_MAX)
def cron_fault(text: str) -> tuple[str, str] | None:
    """Why this is no cron expression, with a suggestion; None where it is one that is due some day."""
    count = len(text.split())
    if count != _FIELDS:
        advice = "write minute, hour, day, month and weekday, such as '0 3 * * *'"
        return f"a cron expression has {_FIELDS} fields, not {count}", advice
    try:
        next(CronSim(text, _START))
    except CronSimError as error:
        return (
            f"cron: {str(error).lower()}",
            "such as '0 3 * * *' for each day at three, '*/10 * * * *' for each ten minutes",
        )
    except StopIteration:
        return "cron: this is never due", "name a day that there is"
    except (AssertionError, ValueError):  # its own slips over what is no expression must not become ours
        return "cron: this cannot be read", "such as '0 3 * * *' for each day at three"
    return None

"""How long to wait between two attempts.

Pure: chance is handed in.
"""

from lognode.core.limits import TASK_BACKOFF_S_MAX, TASK_BACKOFF_S_MIN, TASK_RETRY_AFTER_S_MAX

_DOUBLINGS_MAX = 32  # far beyond TASK_BACKOFF_S_MAX already


def wait_ms(attempts: int, chance: float, retry_after_s: int | None = None) -> int:
    """Milliseconds to wait after so many attempts that failed; `chance`, in [0, 1), takes off up to half.

    Doubling spares who is down, chance keeps those that failed together from trying together. Whoever was asked may ask
    for a longer pause, within bounds.
    """
    longest = min(TASK_BACKOFF_S_MAX, TASK_BACKOFF_S_MIN * 2.0 ** min(max(attempts, 1) - 1, _DOUBLINGS_MAX))
    asked = min(max(retry_after_s or 0, 0), TASK_RETRY_AFTER_S_MAX)
    return round(1000 * max(longest * (1 - chance / 2), asked))

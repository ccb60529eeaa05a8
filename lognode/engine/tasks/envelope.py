"""What stands around the message of a webhook, so that its receiver can tell that it is ours, new, and no repetition.

Pure. The headers are those of the Standard Webhooks specification 1.0: webhook-id, webhook-timestamp and
webhook-signature, an HMAC-SHA-256 over both and the body.
"""

import hmac
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from email.utils import parsedate_to_datetime
from typing import Final

from lognode.core.errors import CallerError
from lognode.core.limits import WEBHOOK_SECRET_BYTES_MAX, WEBHOOK_SECRET_BYTES_MIN

SECRET_PREFIX: Final = b"whsec_"  # base64 follows


def read_secret(raw: bytes) -> bytes:
    """The secret that a file holds: its text, or what its text is the base64 of behind "whsec_".

    Raises CallerError("webhook.secret"), which shows nothing of it.
    """
    secret = raw.strip()
    if secret.startswith(SECRET_PREFIX):
        try:
            secret = b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except Base64Error:
            raise CallerError("webhook.secret", "behind whsec_ there is no base64") from None
    if not WEBHOOK_SECRET_BYTES_MIN <= len(secret) <= WEBHOOK_SECRET_BYTES_MAX:
        detail = f"it has {len(secret)} bytes, {WEBHOOK_SECRET_BYTES_MIN} to {WEBHOOK_SECRET_BYTES_MAX} are needed"
        raise CallerError("webhook.secret", detail)
    return secret


def signed_headers(secret: bytes, message_id: str, time_s: int, body: bytes) -> dict[str, str]:
    """The three headers."""
    said = f"{message_id}.{time_s}.".encode() + body
    signature = b64encode(hmac.digest(secret, said, "sha256")).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(time_s),
        "webhook-signature": f"v1,{signature}",
    }


def read_retry_after(text: str | None, now_ms: int) -> int | None:
    """The seconds of a Retry-After header, which has a number or a date; None where there is nothing of the sort."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return int(text[:10])
    try:
        return max(0, round(parsedate_to_datetime(text).timestamp() - now_ms / 1000))
    except (ValueError, TypeError, OverflowError):
        return None

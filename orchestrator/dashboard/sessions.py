"""Who is signed in: a signed cookie that names a key, and tokens without which no form is taken.

The cookie holds no secret of the caller's: the id of the key, when the session ends, and a random number. Forms carry
a token made from that number (HMAC-based token pattern of OWASP's Cross-Site Request Forgery Prevention Cheat Sheet),
so that another site can make a browser send the cookie but not the token.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass

COOKIE = "orchestrator_session"
SESSION_S = 12 * 3_600.0


@dataclass(frozen=True, slots=True)
class Session:
    """`key` is the id of the key that signed in, `ends_at` in seconds since 1970."""

    key: str
    ends_at: float
    nonce: str
    stamp: str = ""

    @classmethod
    def begin(cls, key: str, now: float, stamp: str) -> Session:
        """A new session; it lasts while the key has the secret that `stamp` is of."""
        return cls(key, now + SESSION_S, secrets.token_urlsafe(16), hashlib.sha256(stamp.encode()).hexdigest()[:16])

    def is_of(self, stamp: str) -> bool:
        """Whether the key still has the secret that the session began with."""
        return hmac.compare_digest(self.stamp, hashlib.sha256(stamp.encode()).hexdigest()[:16])

    def as_cookie(self, secret: bytes) -> str:
        """The value of its cookie."""
        told = base64.urlsafe_b64encode(json.dumps([self.key, self.ends_at, self.nonce, self.stamp]).encode()).decode()
        return f"{told}.{_sign(secret, told)}"

    def form_token(self, secret: bytes) -> str:
        """What each form of this session carries."""
        return _sign(secret, f"form:{self.nonce}:{self.key}")

    def accepts(self, secret: bytes, token: str) -> bool:
        """Whether a form is of this session."""
        return hmac.compare_digest(self.form_token(secret).encode(), token.encode("utf-8", "replace"))


def read_session(cookie: str, secret: bytes, now: float) -> Session | None:
    """The session of a cookie; `None` for one that has ended, or that nobody here signed."""
    told, _, signature = cookie.rpartition(".")
    if not hmac.compare_digest(_sign(secret, told).encode(), signature.encode("utf-8", "replace")):
        return None
    try:
        key, ends_at, nonce, stamp = json.loads(base64.urlsafe_b64decode(told))
    except (ValueError, TypeError, binascii.Error):
        return None
    return Session(str(key), float(ends_at), str(nonce), str(stamp)) if float(ends_at) > now else None


def _sign(secret: bytes, told: str) -> str:
    return hmac.new(secret, told.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

"""Who is asking: tokens as hashes, sessions as signed cookies, and the proof against forged writes.

A token is 32 random bytes, so that its plain SHA-256 tells nothing of it. A session names a token
and the beginning of its hash: it ends when the token is taken away.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from sync_pipeline.errors import RequestError, SettingError
from sync_pipeline.settings import API_TOKENS

SESSION_SECONDS = 12 * 3600
Role = Literal["reader", "operator"]
_ENTRY = re.compile(r"(?P<name>[A-Za-z0-9._@-]{1,64}):(?P<role>reader|operator):(?P<hash>\w{64})")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Token:
    """A token that opens the API: whose it is, what it allows, and its SHA-256 in hex."""

    name: str
    role: Role
    sha256: str


@dataclass(frozen=True)
class Caller:
    """Who is asking. `how` is by token, by the page's session, or from this machine without either;
    `session` is the cookie's value, `until` when it ends, in Unix seconds."""

    name: str
    role: Role
    how: Literal["token", "session", "local"]
    session: str = ""
    until: float | None = field(default=None, compare=False)


LOCAL = Caller("local", "operator", "local")


def parse_tokens(text: str) -> tuple[Token, ...]:
    """Return the tokens of a setting, name:role:sha256 with commas between. Raises SettingError."""
    found: list[Token] = []
    for number, entry in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
        match = _ENTRY.fullmatch(entry)
        if match is None or not _HASH.fullmatch(match["hash"].lower()):
            raise SettingError(
                f"{API_TOKENS}: entry {number} is not name:reader|operator:sha256 of a token; make "
                "one with: sync-pipeline token NAME operator"
            )
        if match["name"] in {token.name for token in found}:
            raise SettingError(f"{API_TOKENS}: the name of entry {number} is there twice")
        found.append(Token(match["name"], cast(Role, match["role"]), match["hash"].lower()))
    return tuple(found)


def new_token(name: str, role: str) -> tuple[str, str]:
    """Return a new token and its entry for the setting. Raises RequestError for what cannot be in
    one."""
    token = secrets.token_urlsafe(32)
    entry = f"{name}:{role}:{hashlib.sha256(token.encode()).hexdigest()}"
    if not _ENTRY.fullmatch(entry):
        raise RequestError(
            f"{name} {role} cannot be a token's name and role; a name has up to 64 letters, digits "
            "or . _ @ -, and the role is reader or operator"
        )
    return token, entry


class Authority:
    """Tells callers by what they show. Comparisons take as long whatever is shown."""

    def __init__(self, tokens: Sequence[Token], secret: bytes) -> None:
        self._tokens = tokens
        self._secret = secret
        self._signed_out: dict[str, float] = {}  # sessions, until they would have ended

    @property
    def asks_for_tokens(self) -> bool:
        return bool(self._tokens)

    def by_token(self, shown: str) -> Caller | None:
        """Return the caller whose token this is, or None."""
        digest = hashlib.sha256(shown.encode("utf-8", "replace")).hexdigest()
        found = None
        for token in self._tokens:  # all of them, so that the time tells nothing
            if hmac.compare_digest(digest, token.sha256):
                found = Caller(token.name, token.role, "token")
        return found

    def begin_session(self, caller: Caller) -> str:
        """Return the cookie of a session of `caller`, who has just shown a token."""
        token = next(token for token in self._tokens if token.name == caller.name)
        until = int(time.time()) + SESSION_SECONDS
        body = json.dumps([token.name, token.sha256[:16], until, secrets.token_hex(8)])
        text = base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")
        return f"{text}.{self._sign('session', text)}"

    def by_session(self, cookie: str) -> Caller | None:
        """Return the caller whose session this is, or None if it is forged, old or taken away."""
        text, _, signature = cookie.partition(".")
        if not _same(signature, self._sign("session", text)):
            return None
        name, begins, until, _ = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if until < time.time() or cookie in self._signed_out:
            return None
        for token in self._tokens:
            if token.name == name and token.sha256.startswith(begins):
                return Caller(name, token.role, "session", cookie, until)
        return None

    def end_session(self, caller: Caller) -> None:
        """Let the session of `caller`, if it is one, be of no use any more to this process."""
        if caller.until is not None:
            now = time.time()
            kept = {cookie: until for cookie, until in self._signed_out.items() if until > now}
            self._signed_out = {**kept, caller.session: caller.until}

    def csrf_token(self, caller: Caller) -> str:
        """Return what a browser shows with each write, and a foreign page cannot know."""
        return self._sign("csrf", f"{caller.how} {caller.name} {caller.session}")

    def is_csrf_token(self, caller: Caller, shown: str) -> bool:
        """Return whether `shown` is what `csrf_token` gave this caller."""
        return _same(shown, self.csrf_token(caller))

    def _sign(self, what: str, text: str) -> str:
        message = f"{what}: {text}".encode("utf-8", "replace")
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()


def _same(shown: str, right: str) -> bool:
    return hmac.compare_digest(shown.encode("utf-8", "replace"), right.encode())

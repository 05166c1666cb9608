"""API tokens (stored as hashes) and sessions (signed cookies).

A token is 32 random bytes, so an unsalted SHA-256 hash is safe. A session contains its token's name
and the start of the token's hash, so removing a token ends its sessions. Does not check requests:
see `../authorization.py`.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from itsdangerous import BadData, URLSafeTimedSerializer

from sync_pipeline.errors import RequestError, SettingError
from sync_pipeline.settings import API_TOKENS

SESSION_SECONDS = 12 * 3600
Role = Literal["reader", "operator"]
_ENTRY = re.compile(r"(?P<name>[A-Za-z0-9._@-]{1,64}):(?P<role>reader|operator):(?P<hash>\w{64})")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Token:
    """An API token: its owner's name, its role, and its SHA-256 hash in hex."""

    name: str
    role: Role
    sha256: str


@dataclass(frozen=True)
class Caller:
    """The caller of a request.

    `how` states how it was authenticated: by token, by the page's session, or as a local caller if
    no tokens are set. `session` is the session's random ID. `until` is the session's end, in Unix
    seconds.
    """

    name: str
    role: Role
    how: Literal["token", "session", "local"]
    session: str = ""
    until: float | None = field(default=None, compare=False)


LOCAL = Caller("local", "operator", "local")


def parse_tokens(text: str) -> tuple[Token, ...]:
    """Return the tokens from a setting, a comma-separated list of `name:role:sha256` entries.

    Raises SettingError if an entry is invalid.
    """
    found: list[Token] = []
    for number, entry in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
        match = _ENTRY.fullmatch(entry)
        if match is None or not _HASH.fullmatch(match["hash"].lower()):
            raise SettingError(
                f"{API_TOKENS}: entry {number} is not in the form name:reader|operator:sha256; "
                "create one with: sync-pipeline token NAME operator"
            )
        if match["name"] in {token.name for token in found}:
            raise SettingError(
                f"{API_TOKENS}: the name of entry {number} is used twice; give each token a "
                "different name"
            )
        found.append(Token(match["name"], cast(Role, match["role"]), match["hash"].lower()))
    return tuple(found)


def new_token(name: str, role: str) -> tuple[str, str]:
    """Return a new token and its entry for the setting.

    Raises RequestError if the name or the role is invalid.
    """
    token = secrets.token_urlsafe(32)
    entry = f"{name}:{role}:{hashlib.sha256(token.encode()).hexdigest()}"
    if not _ENTRY.fullmatch(entry):
        raise RequestError(
            f"invalid name or role: {name} {role}; a name has up to 64 characters (letters, "
            "digits, '.', '_', '@', '-'), and the role must be 'reader' or 'operator'"
        )
    return token, entry


class Authority:
    """Authenticates callers by their credentials, which are compared in constant time."""

    def __init__(self, tokens: Sequence[Token], secret: bytes) -> None:
        self._tokens = tokens
        self._sessions = URLSafeTimedSerializer(
            secret, salt="session", signer_kwargs={"digest_method": hashlib.sha256}
        )
        self._signed_out: dict[str, float] = {}  # from session ID to expiry time

    @property
    def requires_token(self) -> bool:
        """Whether callers must authenticate."""
        return bool(self._tokens)

    def by_token(self, text: str) -> Caller | None:
        """Return the caller with this token, or None."""
        digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
        found = None
        for token in self._tokens:  # always compare all of them, to take constant time
            if hmac.compare_digest(digest, token.sha256):
                found = Caller(token.name, token.role, "token")
        return found

    def begin_session(self, caller: Caller) -> tuple[Caller, str]:
        """Begin a session for `caller`, which was authenticated by a token; return the caller of
        the session and the session's cookie."""
        token = next(token for token in self._tokens if token.name == caller.name)
        session = secrets.token_hex(8)
        cookie = self._sessions.dumps([token.name, token.sha256[:16], session])
        until = time.time() + SESSION_SECONDS
        return Caller(token.name, token.role, "session", session, until), cookie

    def by_session(self, cookie: str) -> Caller | None:
        """Return the caller with this cookie, or None if its session is invalid, expired or
        revoked."""
        try:
            (name, hash_start, session), began = self._sessions.loads(
                cookie,
                max_age=SESSION_SECONDS - 1,  # a cookie of exactly this age is still accepted
                return_timestamp=True,
            )
        except BadData:
            return None
        if session in self._signed_out:
            return None
        for token in self._tokens:
            if token.name == name and token.sha256.startswith(hash_start):
                until = began.timestamp() + SESSION_SECONDS
                return Caller(name, token.role, "session", session, until)
        return None

    def end_session(self, caller: Caller) -> None:
        """Revoke the caller's session, if any, in this process only."""
        if caller.until is not None:
            now = time.time()
            kept = {session: until for session, until in self._signed_out.items() if until > now}
            self._signed_out = {**kept, caller.session: caller.until}

"""JSON whose numbers are kept as they were written, however long: no float ever holds one."""

import json
from decimal import Decimal, InvalidOperation
from typing import Any

import simplejson

_MAX_DIGITS_OF_AN_INT = 4000
"""Python turns no longer text into an int."""


def parsed(body: bytes) -> Any:
    """Return the JSON in `body`: int and Decimal for numbers, the words for NaN and infinities.

    Raises ValueError for what is no JSON.
    """
    try:
        return json.loads(body, parse_float=Decimal, parse_int=_integer, parse_constant=str)
    except (InvalidOperation, RecursionError):
        raise ValueError("a number or a nesting that cannot be held") from None


def written(value: Any) -> str:
    """Return `value` as JSON, its numbers unchanged. Raises RecursionError for a deep nesting."""
    return str(simplejson.dumps(value, use_decimal=True, ensure_ascii=False))


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) < _MAX_DIGITS_OF_AN_INT else Decimal(text)

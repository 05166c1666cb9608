"""Parse and write JSON with exact numbers of any length. Floats are never used."""

import json
from decimal import Decimal, InvalidOperation
from typing import Any

import simplejson

from sync_pipeline.sources.unique_keys import unique_keys

_MAX_INT_DIGITS = 4000
"""Longer integers become Decimals, because Python limits the number of digits in an int."""


def parse_json(body: bytes) -> Any:
    """Parse JSON. Numbers become int or Decimal; NaN and infinities become text.

    Raises ValueError if `body` is not valid JSON, or DuplicateKeyError.
    """
    try:
        return json.loads(
            body,
            parse_float=Decimal,
            parse_int=_integer,
            parse_constant=str,
            object_pairs_hook=unique_keys,
        )
    except (InvalidOperation, RecursionError):
        raise ValueError("a number is too large or the nesting is too deep") from None


def dump_json(value: Any) -> str:
    """Return `value` as JSON, with exact numbers. Raises RecursionError if it nests too deeply."""
    return str(simplejson.dumps(value, use_decimal=True, ensure_ascii=False))


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) < _MAX_INT_DIGITS else Decimal(text)

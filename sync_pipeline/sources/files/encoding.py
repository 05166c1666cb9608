"""Recognize files in UTF-16 or UTF-32, some of which are valid but meaningless UTF-8.

Does not decode files: see `csv.py` and `jsonl.py`.
"""

import codecs


def wide_encoding(start: bytes) -> str | None:
    """Return the encoding of a file that starts with `start` if it is UTF-16 or UTF-32, else None.

    Without a byte order mark, only ASCII characters are recognized.
    """
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if start[:1] == b"\0":
        return "utf-16-be"
    return "utf-16-le" if start[1:2] == b"\0" else None

"""The command line's consoles: results on standard output, errors on standard error."""

from rich.console import Console

out = Console()
errors = Console(stderr=True)


def print_error(text: str) -> None:
    """Print an error on one line."""
    errors.print(f"sync-pipeline: {text}", style="red", markup=False, soft_wrap=True)

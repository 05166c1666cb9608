"""Where the command speaks: what was asked for on standard output, all else on standard error."""

from rich.console import Console

out = Console()
errors = Console(stderr=True)


def print_error(text: str) -> None:
    """Say in one line what went wrong."""
    errors.print(f"sync-pipeline: {text}", style="red", markup=False, soft_wrap=True)

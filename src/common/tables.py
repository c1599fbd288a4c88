"""Tables of Markdown."""

from collections.abc import Iterable, Sequence


def markdown_table(head: Sequence[str], lines: Iterable[Iterable], left: int = 1) -> str:
    """Return a Markdown table, its first `left` columns aligned left."""
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in (head, rule, *lines))

"""What is wrong but stops nothing: a line on stderr that begins with "warning:"."""

from __future__ import annotations

import logging
import sys


class _Notices(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print(f"warning: {record.getMessage()}", file=sys.stderr)


_notices = _Notices(logging.WARNING)


def show_warnings() -> None:
    """From here on what our modules warn of is printed; calling it again changes nothing."""
    logging.getLogger("stemweave").addHandler(_notices)
    # where it keeps its list of fonts is nobody's concern
    logging.getLogger("matplotlib").setLevel(logging.ERROR)

"""Numbers as people read them."""

import time


def number(value: float) -> str:
    """1,234 for whole and for large numbers, four significant digits for others."""
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1000 else f"{value:.4g}"


def share(value: float) -> str:
    """0.1234 -> 12.3 %."""
    return f"{value:.1%}".replace("%", " %")


def duration(seconds: float) -> str:
    """8.3 s, 2 min 5 s, 1 h 10 min, 98 days."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours / 24:.0f} days"


def size(count: float) -> str:
    """Bytes as KiB, MiB or GiB."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.2f} GiB"


def moment(unix_seconds: float) -> str:
    """2017-12-04 01:33 UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(unix_seconds))


def day(unix_seconds: float) -> str:
    """2017-12-04."""
    return time.strftime("%Y-%m-%d", time.gmtime(unix_seconds))

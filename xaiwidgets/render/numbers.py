"""Numbers as people read them."""

from __future__ import annotations

import math

MINUS = "\N{MINUS SIGN}"


def _scientific(value: float) -> bool:
    return value != 0 and not 1e-3 <= abs(value) < 1e5


def decimals_for(value: float, digits: int = 3) -> int:
    """Return how many decimals show ``digits`` significant digits of ``value``."""
    return 0 if value == 0 else max(0, digits - 1 - math.floor(math.log10(abs(value))))


def fixed(value: float, decimals: int) -> str:
    """Return ``value`` with so many decimals, with a real minus sign and no minus before a zero."""
    text = f"{value:.{decimals}f}"
    if text.startswith("-"):
        text = text[1:] if float(text) == 0 else MINUS + text[1:]
    return text


def number(value: float, digits: int = 3) -> str:
    """Return ``value`` with about ``digits`` significant digits: ``2.31``, ``0.0042``, ``1234``, ``4.2e−7``."""
    value = float(value)
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else ("∞" if value > 0 else MINUS + "∞")
    if not _scientific(value):
        # 99.96 rounds up to 100.0, which has one digit more than asked for.
        value = float(f"{value:.{digits - 1}e}") if abs(value) < 10 ** (digits - 1) else value
        return fixed(value, decimals_for(value, digits))
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}".replace("-", MINUS)


def interval(low: float, high: float, unit: str = "") -> str:
    """Return ``0.00 to 2.31 logit``: both ends with the decimals that the larger one deserves."""
    top = max(abs(low), abs(high))
    if _scientific(top):
        ends = number(low), number(high)
    else:
        ends = fixed(low, decimals_for(top)), fixed(high, decimals_for(top))
    return " ".join(filter(None, (f"{ends[0]} to {ends[1]}", unit)))


def percent(share: float) -> str:
    """Return a share as people read it: ``0 %``, ``<0.01 %``, ``0.23 %``, ``4.4 %``, ``−12 %``, ``340 %``."""
    value = abs(100 * float(share))
    if not math.isfinite(value):
        return f"{number(share)} %"
    if value == 0:
        return "0 %"
    if value < 0.01:
        return "<0.01 %"
    digits = 2 if value < 99.5 else 3
    text = f"{float(f'{value:.{digits}g}'):g}" if value < 1000 else f"{value:,.0f}"
    return f"{MINUS if share < 0 else ''}{text} %"

"""From a knob to its control. The bounds that count are the knob's own, held in Python: a browser may send anything."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from xaiwidgets.core.cards import choices
from xaiwidgets.core.knobs import (
    Choice,
    Flag,
    Knob,
    KnobName,
    LayerName,
    LayerRules,
    MethodName,
    MethodNames,
    NetworkName,
    Range,
    ReferenceName,
)
from xaiwidgets.learned.store import offered
from xaiwidgets.model.references import reference_sets
from xaiwidgets.widgets.closing import close_tree
from xaiwidgets.widgets.members import MembersEditor
from xaiwidgets.widgets.quiet import Quiet
from xaiwidgets.widgets.rules import RulesEditor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Whole numbers over a span wider than this get a number field in place of a slider.
WIDEST_SLIDER = 5000
#: A value between two steps is shown at one of them.
ENDS = (math.floor, math.ceil)
#: Characters of a label that fit beside a slider.
LONGEST_LABEL = 20


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-12)
    return bool(one == other)


def _words(option: str) -> str:
    return option.replace("_", " ")


class Control:
    """One knob's widget. ``value`` is always inside the knob's domain; ``set`` does not call back.

    Args:
        knob: what is controlled.
        changed: called with the new value when a person changes it.
        layers: names for a layer knob.
    """

    def __init__(self, knob: Knob, changed: Callable[[Any], None], layers: Sequence[str] = ()) -> None:
        self.knob = knob
        self._changed = changed
        self._quiet = Quiet()
        self._last = knob.default
        self._low = self._step = 0.0
        self.widget = self._make(layers)
        named = f"{knob.label} ({knob.unit})"
        fits = knob.unit and knob.unit != knob.label.lower() and len(named) <= LONGEST_LABEL
        self.widget.description = named if fits else knob.label
        self.widget.tooltip = f"{knob.help} In {knob.unit}." if knob.unit else knob.help
        if knob.live:
            self.widget.tooltip += " Can be moved while it runs."
        self.widget.add_class("xai-control")
        self.widget.observe(self._observe, "value")

    @property
    def value(self) -> Any:
        """The value, moved into the domain."""
        return self.knob.domain.clamp(self._from_widget(self.widget.value), self.knob.default)

    def set(self, value: Any) -> None:
        """Show a value without calling back."""
        with self._quiet:
            if isinstance(self.widget, w.SelectionSlider) and value not in [v for _, v in self.widget.options]:
                self.widget.options = _options([*(v for _, v in self.widget.options), value])
            if isinstance(self.knob.domain, ReferenceName) and value not in [v for _, v in self.widget.options]:
                self.widget.options = _references()  # a set may have been registered since
            if isinstance(self.knob.domain, NetworkName):
                self.widget.options = _networks(self.knob.domain, value)
            self.widget.value = value
            self._last = self.value

    def offer(self, options: Sequence[tuple[str, str]]) -> None:
        """Offer these options in a list, without calling back; a value that is none of them gives way to the first."""
        with self._quiet:
            value = self.widget.value
            self.widget.options = options
            self.widget.value = value if value in [one for _, one in options] else options[0][1]
            self._last = self.value

    def _observe(self, _change: Any) -> None:
        # a browser sends numbers back as it rounds them, to the next step of a slider too, which is nobody's choice
        if not self._quiet and not _same(self.value, self._last) and not self._echoes(self.value):
            self._last = self.value
            self._changed(self._last)

    def _echoes(self, value: Any) -> bool:
        """Return whether this is where a slider shows the last value, which lies between two of its steps."""
        if not self._step:
            return False
        low = self._low
        shown = (low + rounded(count) * self._step for count in [(self._last - low) / self._step] for rounded in ENDS)
        return not _on_grid(self._last, low, self._step) and any(_same(float(value), float(near)) for near in shown)

    def _from_widget(self, value: Any) -> Any:
        return value

    def _make(self, layers: Sequence[str]) -> Any:
        knob, domain = self.knob, self.knob.domain
        if isinstance(domain, Range):
            return self._slider(domain)
        if isinstance(domain, Choice):
            return w.Dropdown(options=[(_words(o), o) for o in domain.options], value=knob.default)
        if isinstance(domain, Flag):
            return w.Checkbox(value=knob.default)
        if isinstance(domain, LayerName):
            return w.Dropdown(options=[(domain.empty, ""), *((n, n) for n in layers)], value="")
        if isinstance(domain, KnobName):
            return w.Dropdown(options=[("its own choice", "")], value=knob.default)
        if isinstance(domain, MethodName):
            options = [(c.title, c.id) for c in choices(domain)]
            return w.Dropdown(options=options, value=knob.default)
        if isinstance(domain, MethodNames):
            return MembersEditor(domain, knob.default)
        if isinstance(domain, ReferenceName):
            return w.Dropdown(options=_references(), value=knob.default)
        if isinstance(domain, NetworkName):
            return w.Dropdown(options=_networks(domain, knob.default), value=knob.default)
        if isinstance(domain, LayerRules):
            return RulesEditor(domain.rules, knob.default)
        raise TypeError(f"no control is known for a {type(domain).__name__}")

    def _slider(self, domain: Range) -> Any:
        value, low, high = self.knob.default, domain.low, domain.high
        self._low = low
        if domain.log:
            slider = w.SelectionSlider(options=_options([*nice_values(domain), value]), value=value)
        elif domain.integer and high - low > WIDEST_SLIDER:
            return w.BoundedIntText(value=value, min=low, max=high)
        elif domain.integer:
            self._step = int(domain.step or 1)
            slider = w.IntSlider(value=value, min=low, max=high, step=self._step)
        else:
            self._step = domain.step or _round_down((high - low) / 100)
            if not _on_grid(value, low, self._step) and low >= 0:  # the default is small beside the range
                self._step = 0.0
                return w.SelectionSlider(options=_options([low, value, *_decades(domain, value)]), value=value)
            form = f".{max(0, min(6, -math.floor(math.log10(self._step) + 1e-9)))}f"
            slider = w.FloatSlider(value=value, min=low, max=high, step=self._step, readout_format=form)
        return slider


def nice_values(domain: Range) -> list[float]:
    """Return round numbers from one end of a logarithmic range to the other, so that each step of a slider is felt."""
    found = [
        base * 10.0**power
        for power in range(math.floor(math.log10(domain.low)), math.ceil(math.log10(domain.high)) + 1)
        for base in ((1, 2, 3, 4, 5, 6, 8) if domain.integer else (1, 1.5, 2, 3, 4, 6, 8))
    ]
    doubles = [2.0**power for power in range(1, 15)] if domain.integer else []
    values = sorted({domain.low, domain.high, *(v for v in (*found, *doubles) if domain.low <= v <= domain.high)})
    return [int(v) for v in values if v == int(v)] if domain.integer else [float(f"{v:.6g}") for v in values]


def _decades(domain: Range, default: float) -> list[float]:
    """Return round numbers from well below the default to the end of a range that begins at 0 or little above."""
    least = max(domain.low, min(default, domain.high) / 100)
    return nice_values(Range(float(least), float(domain.high), log=True))


def _round_down(step: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that is no larger."""
    decade = 10.0 ** math.floor(math.log10(step) + 1e-9)
    return float(f"{next(base for base in (5, 2, 1) if base * decade <= step * (1 + 1e-9)) * decade:.6g}")


def _on_grid(value: float, low: float, step: float) -> bool:
    count = (value - low) / step
    return abs(count - round(count)) < 1e-6


def _options(values: Sequence[float]) -> list[tuple[str, float]]:
    return [(f"{value:g}", value) for value in sorted(set(values))]


def _references() -> list[tuple[str, str]]:
    return [(one.title, one.name) for one in reference_sets()]


def _networks(domain: NetworkName, chosen: str) -> list[tuple[str, str]]:
    """Return what was trained so far, and what is chosen even if it is not there, so that the error can name it."""
    known = offered(domain.kind)
    gone = [chosen] if chosen and chosen not in known else []
    return [(domain.empty, ""), *((name, name) for name in (*known, *gone))]


class Form:
    """The controls of a set of knobs, the advanced ones folded away.

    Args:
        knobs: what is controlled, in order.
        changed: called with (name, value).
        layers: names for layer knobs.
    """

    def __init__(self, knobs: Sequence[Knob], changed: Callable[[str, Any], None], layers: Sequence[str] = ()) -> None:
        self.controls = {k.name: Control(k, _for(k.name, changed), layers) for k in knobs}
        plain = _aligned([self.controls[k.name].widget for k in knobs if not k.advanced])
        rare = _aligned([self.controls[k.name].widget for k in knobs if k.advanced])
        children: list[Any] = plain
        if rare:
            more = w.Accordion(children=[w.VBox(rare)], titles=("More",), selected_index=None)
            more.add_class("xai-more")
            children = [*plain, more]
        self.box = w.VBox(children)
        self.box.add_class("xai-form")

    def set(self, values: dict[str, Any]) -> None:
        """Show these values without calling back."""
        for name, value in values.items():
            if name in self.controls and self.controls[name].value != value:
                self.controls[name].set(value)

    def set_names(self, names: Sequence[tuple[str, str]]) -> None:
        """Offer these hyper-parameters of the method in question, each a (label, name), where one is chosen."""
        for control in self.controls.values():
            if isinstance(control.knob.domain, KnobName):
                control.offer([("its own choice", ""), *names])

    def find_networks(self) -> None:
        """Offer what has been trained meanwhile where a network is chosen, without calling back."""
        for control in self.controls.values():
            if isinstance(control.knob.domain, NetworkName):
                control.set(control.value)

    def set_weighted(self, layers: Sequence[tuple[str, str]]) -> None:
        """Offer these convolutions and dense layers, each a (name, kind), where rules are chosen by layer."""
        for control in self.controls.values():
            if isinstance(control.widget, RulesEditor):
                control.widget.set_layers(layers)

    def close(self) -> None:
        """Close all widgets of the form."""
        close_tree(self.box)


def _aligned(widgets: list[Any]) -> list[Any]:
    """Give all labels of a group the width of the longest."""
    longest = max((len(widget.description) for widget in widgets), default=0)
    for widget in widgets:
        if isinstance(widget, (RulesEditor, MembersEditor)):
            continue  # its words stand on a button
        widget.style.description_width = f"{min(max(7 * longest + 4, 60), 156)}px"
    return widgets


def _for(name: str, changed: Callable[[str, Any], None]) -> Callable[[Any], None]:
    return lambda value: changed(name, value)

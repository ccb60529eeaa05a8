"""One measured figure: median and spread of its runs, and its ratio to a reference of the same run."""

from dataclasses import dataclass, field
from statistics import median
from typing import Any


def shown(value: float) -> str:
    """A value with as many digits as say something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


@dataclass
class Figure:
    """Values of one quantity; `reference_value` is what the same work cost without lognode."""

    name: str
    unit: str
    values: list[float]
    reference: str = "raw SQLite"
    reference_value: float | None = None
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """The middle value."""
        return median(self.values)

    @property
    def spread(self) -> str:
        """Smallest and largest value."""
        return f"{shown(min(self.values))}-{shown(max(self.values))}"

    @property
    def ratio(self) -> float | None:
        """This figure over its reference: for rates, more is better."""
        return self.median / self.reference_value if self.reference_value else None

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {
            "figure": self.name,
            "unit": self.unit,
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "reference": self.reference if self.reference_value else None,
            "reference_value": self.reference_value,
            "ratio": self.ratio,
            **self.more,
        }

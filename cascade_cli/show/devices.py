"""What `search` prints of several devices: the best on each, and what a wrong choice costs."""

from __future__ import annotations

from collections.abc import Sequence

from cascade_cli.show.text import print_table
from stages.costs import figure, told_in
from stages.search import DeviceChoice


def show_devices(rows: Sequence[DeviceChoice], unit: str) -> None:
    """A choice per device, priced on all, then the excess of each on every other."""
    devices = [row.device for row in rows]
    shown = [
        row.columns() | {name: figure(row.costs[name], unit) for name in devices} for row in rows
    ]
    columns = {"device": "best on", "model_1": "A", "model_2": "B", "score": "score"}
    columns |= {"postcheck": "post-check", "accuracy": "accuracy:.2%", "usage": "use of B:.1%"}
    print_table(shown, columns | {name: f"cost on {name}, {told_in(unit)}" for name in devices})
    for row in rows:
        for device, excess in row.excess.items():
            if device != row.device:
                print(f"{row.device}'s choice costs {excess:+.1%} on {device}")

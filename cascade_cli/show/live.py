"""What `live` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cascade_cli.show.costs import NO_SENSOR
from cascade_cli.show.profile import Timed
from cascade_cli.show.simulation import near_texts
from cascade_cli.show.text import print_table, print_text, say
from stages.costs import amount, figures, interval, told_in

if TYPE_CHECKING:  # torch, which may not be there
    from stages.live import Agreement, EnergySummary, MeterSummary

SHOWN = 20  # differences


CLASS_COLUMNS = {
    "class": "class",
    "precision": "precision:.3f",
    "recall": "recall:.3f",
    "f1-score": "F1:.3f",
    "support": "images:.0f",
}


def timed_contenders(result: dict[str, Any]) -> list[Timed]:
    """Mean and usual latency of everything that was served; where B ran, each kind of batch has
    its own median."""
    name = "the cascade" if result["model_2"] else result["model_1"]
    each = {name: result} | {f"{model} alone": one for model, one in result["alone"].items()}
    return [(name, one["latency_ms"]["mean"], one["usual_ms"]) for name, one in each.items()]


def show_live(result: dict[str, Any]) -> None:
    """Each class, then accuracy, time, joules, and how the simulation compares."""
    report = result["classification"]
    rows = [{"class": name} | row for name, row in report.items() if isinstance(row, dict)]
    print_table(rows, CLASS_COLUMNS)
    print()
    print_text(f"{_names(result)} on {result['dataset']}/{result['split']}")
    print(f"  images     {result['n']}")
    chose = result.get("fit_method") in ("cross-fit", "same-split")
    flatters = ", of images that chose λ: it flatters" if chose else ""
    print(f"  accuracy   {_share(result, 'accuracy')}{flatters}")
    if result.get("unanswered") is not None:
        print(f"  unanswered {_share(result, 'abstained')}, {result['unanswered']} requests")
        if result["answered_accuracy"] is not None:
            print(f"  answered   {_share(result, 'answered_accuracy')} of the others are right")
    if result["usage"] is not None and result.get("accuracy_2") is not None:
        print(f"  use of B   {_share(result, 'usage')}, {result['escalated']} requests")
    if result.get("usage_2") is not None and result.get("accuracy_3") is not None:
        print(f"  use of C   {result['usage_2']:.2%}, {result['escalated_2']} requests")
    if result.get("memory"):
        print(f"  memory     {result['hits']} answered from it ({result['hit_rate']:.2%})")
    latency = "  ".join(f"{name} {value:.3f}" for name, value in result["latency_ms"].items())
    print(f"  latency    {latency} ms per batch of {result['batch_size']}")
    print(f"  decoding   {result['preprocess_ms']:.3f} ms per batch, beside it")
    _show_energy(result["energy"])
    for name, each in result["alone"].items():
        mean = each["latency_ms"]["mean"]
        joules = _joules(each["energy"])
        print(f"  {name} alone: accuracy {each['accuracy']:.2%}, {mean:.3f} ms per batch, {joules}")
    _show_predicted(result)
    if result["agreement"]:
        for title, text in near_texts(result):
            print(f"  {title:<10} {text}")
        _show_agreement(result["agreement"])


def _names(result: dict[str, Any]) -> str:
    """The models in their order, and whether their mean answers."""
    names = [result.get(f"model_{i}") for i in (1, 2, 3)]
    told = " → ".join(name.replace(",", " + ") for name in names if name)
    if result["model_2"] is None:
        return f"{told} alone"
    return f"{told}, answered by the mean," if result.get("final") == "ensemble" else told


def _share(result: dict[str, Any], name: str) -> str:
    low, high = (f"{result[f'{name}_{end}']:.2%}" for end in ("low", "high"))
    return f"{result[name]:.2%} ({low} to {high})"


def _joules(energy: MeterSummary) -> str:
    joules = energy.energy_j_per_request
    if joules is None:
        return "joules unknown"
    low, high = energy.energy_j_per_request_low, energy.energy_j_per_request_high
    if low is None or high is None:
        return f"{amount(joules, 'J')} per request"
    return f"{interval(joules, low, high, 'J')} {told_in('J')} per request"


def _show_energy(energy: EnergySummary) -> None:
    if energy.source == "none":
        print(f"  energy     unknown: {NO_SENSOR}")
    elif energy.energy_j_per_request is None:
        print(f"  energy     unknown: {energy.reason}")
    else:
        print(f"  energy     {_joules(energy)}, {energy.source}, {energy.scope}")
    for host in energy.host:
        print(f"  host       {_joules(host)}, {host.source}, {host.scope}, beside it")
    for warning in energy.warnings:
        say(f"warning: {warning}")


def _show_predicted(result: dict[str, Any]) -> None:
    """What the cost table had said beside what was measured."""
    for found in (result["predicted"] or {}).values():
        if found["measured"] is not None:
            unit = found["unit"]
            expected, measured = figures(unit, found["value"], found["measured"])
            print(
                f"  predicted  {expected} {told_in(unit)} per request, measured {measured} "
                f"({found['difference']:+.1%})"
            )


def _show_agreement(found: Agreement) -> None:
    count = len(found.differences)
    verdict = "no difference" if not count else f"{count} differ"
    print(
        f"  agreement  {found.n} images against simulate: {verdict}, "
        f"{found.outside_noise} outside float noise ({found.noise:g}); "
        f"scores moved by up to {found.largest_score_shift:.1e}"
    )
    for row in found.differences[:SHOWN]:
        which = f"request {row.request}, sample {row.sample_id}"
        print(f"    {which}: {row.distance:.1e} from the {row.boundary}")
    if count > SHOWN:
        print(f"    … and {count - SHOWN} more, all with --json")

"""The folder of a plan: the plan, the labels that are known, and the images to label next."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from cache import InputError, read_text, write_whole
from stages.few_labels.plan import Plan, parse

PLAN, LABELS, TO_LABEL = "plan.json", "labels.json", "to-label.csv"
OTHER = "other"  # a label: none of the answers
_BYTES = 1 << 28

# Sample id → class, None where none of the answers is right; in the order they came.
Known = dict[int, int | None]


@dataclass(frozen=True)
class Folder:
    path: str

    def place(self, name: str) -> Path:
        return Path(self.path, name)

    def plan(self) -> Plan:
        """InputError where there is none, or it was changed."""
        where = self.place(PLAN)
        if not where.exists():
            raise InputError(
                f"{self.path} holds no plan: make one with `cascade certify MAX_LOSS,RISK "
                "--unlabelled SPLIT`, or name its folder with --plan"
            )
        return parse(read_text(where, _BYTES), str(where))

    def check_free(self) -> None:
        """InputError where a plan is there already, whose labels would be lost."""
        if self.place(PLAN).exists():
            raise InputError(
                f"{self.path} holds a plan: go on with it, without MAX_LOSS,RISK, or name another "
                "folder with --plan"
            )

    def start(self, plan: Plan) -> None:
        """Write a new plan, without labels."""
        self.check_free()
        self._write({PLAN: plan.text(), LABELS: _labels_text(plan, {})})

    def labels(self, plan: Plan) -> Known:
        """InputError where they are no labels of this plan."""
        where = self.place(LABELS)
        if not where.exists():
            return {}
        try:
            found = json.loads(read_text(where, _BYTES))
            own = found["plan"] == plan.sha256
            known = {int(each["sample_id"]): _label(each["label"]) for each in found["labels"]}
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{where} is damaged: put it back, or remove it and bring the labels in again"
            ) from error
        if not own:
            raise InputError(f"{where} holds labels of another plan: put its own back")
        return known

    def keep(self, plan: Plan, known: Mapping[int, int | None]) -> None:
        """Write all labels, whole or not at all."""
        self._write({LABELS: _labels_text(plan, known)})

    def ask(self, rows: Sequence[tuple[int, str, Sequence[str]]]) -> str:
        """Write the images to label next, in order: sample id, key, and the answers. The file."""
        most = max((len(answers) for *_, answers in rows), default=2)
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        head = [f"answer_{k + 1}" for k in range(most)]
        lines.writerow(["sample_id", "key", *head, "label"])
        for sample, key, answers in rows:
            padding = [""] * (most - len(answers))
            lines.writerow([sample, key, *answers, *padding, ""])
        self._write({TO_LABEL: text.getvalue()})
        return str(self.place(TO_LABEL))

    def _write(self, texts: Mapping[str, str]) -> None:
        try:
            Path(self.path).mkdir(parents=True, exist_ok=True)
            write_whole({self.place(name): _writer(text) for name, text in texts.items()})
        except OSError as error:
            raise InputError(
                f"cannot write to {self.path}: {error.strerror or error}; name another --plan"
            ) from error


def _writer(text: str) -> Callable[[BinaryIO], object]:
    return partial(_put, text.encode())


def _put(data: bytes, file: BinaryIO) -> None:
    file.write(data)


def _label(value: object) -> int | None:
    if value == OTHER:
        return None
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value


def _labels_text(plan: Plan, known: Mapping[int, int | None]) -> str:
    rows = [
        {"sample_id": sample, "label": OTHER if label is None else label}
        for sample, label in known.items()
    ]
    return json.dumps({"plan": plan.sha256, "labels": rows}, indent=1) + "\n"

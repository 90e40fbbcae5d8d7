"""What the second looks of the labeller are worth with a model that errs as models do: more often below a wrong parent.

    python -m eval.confused

The model knows the truth and is confused with a given probability, which is higher when the parent's name that it is told
is wrong, and in between when that name is said to be uncertain and the right one is among the alternatives. It is the less
certain the more it errs (as token probabilities are, and not more reliably), suspects its parent when that is wrong (often,
not always, and sometimes without reason), sees a wrong parent from right parts, and sees some wrong names when it looks at
siblings together. So the table tells what each pass can do if its premise holds; whether it holds for a given model, only
labels of real scenes tell.

Notation: rates in shares of all parts; a part is wrong when its name is not the true one. n parts, s trees.
"""

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Iterator

import numpy as np

from semquery.facts import PartFacts
from semquery.labelling import Asker, LabelConfig, Subject, label_parts
from semquery.types import NodeLabel, PartTree
from semquery.vlm import Answer, Request, Turn

NONE = LabelConfig(carry_alternatives=False, reconsider=False, siblings=False, copy_alike=False)
SWITCHES = {
    "none": NONE,
    "carry alternatives": dataclasses.replace(NONE, carry_alternatives=True),
    "reconsider": dataclasses.replace(NONE, reconsider=True),
    "siblings": dataclasses.replace(NONE, siblings=True),
    "copy alike": dataclasses.replace(NONE, copy_alike=True),
    "all": LabelConfig(),
    "all but carry alternatives": dataclasses.replace(LabelConfig(), carry_alternatives=False),
    "all but reconsider": dataclasses.replace(LabelConfig(), reconsider=False),
    "all but siblings": dataclasses.replace(LabelConfig(), siblings=False),
    "all but copy alike": dataclasses.replace(LabelConfig(), copy_alike=False),
    "none, no ancestors shown": dataclasses.replace(NONE, ancestors="none"),
}


@dataclasses.dataclass
class Confused:
    """Knows `truth` (part → name; pictures hold the part's number), and errs."""

    truth: dict[int, str]
    parents: dict[int, int]
    seed: int = 0
    errs: float = 0.12  # below a parent that is named rightly
    errs_below_wrong: float = 0.5
    errs_below_unsure: float = 0.25  # the right name of the parent is told as an alternative
    errs_alone: float = 0.3  # when no parent is shown
    suspects: float = 0.7  # a wrong parent
    suspects_wrongly: float = 0.04  # a right one
    sees_beside: float = 0.4  # a wrong name among its siblings
    spoils_beside: float = 0.01  # a right one
    source: str = "vlm"

    @property
    def identity(self) -> str:
        return f"Confused {self.seed}"

    def check(self) -> str:
        return "confused"

    def __call__(self, request: Request) -> Answer:
        self.chance = self._chances(request)
        asked = request.turns[-1]
        if request.schema is not None and "renamed" in request.schema["properties"]:
            return Answer(self._beside(asked))
        if "Look again at what the whole of it must be" in asked.text:
            return self._again(request)
        return self._node(request)

    def _chances(self, request: Request) -> Iterator[float]:
        """Numbers in 0..1 by what is asked about and which names are told, whatever the wording: all switches meet the same chances."""
        asked = request.turns[-1]
        named = re.findall(r"^- (.*)$|^\d+\. (.*?): |This is a part of the “(.*?)”(?: \(not certain.*)?, (?:which has|its only)", asked.text, re.M)
        digest = hashlib.sha256(repr((self.seed, asked.images, named)).encode()).digest()
        return iter(np.random.default_rng(int.from_bytes(digest[:8], "big")).random(400).tolist())

    def _node(self, request: Request) -> Answer:
        part, text = _part(request.turns[-1]), request.turns[-1].text
        told = re.search(r"This is a part of the “(.*?)”(?: \(not certain: it may be (.*)\))?, (?:which has|its only)", text)
        parent = self.truth.get(self.parents[part], "")
        right = told is None or told[1] == parent
        alternative = told is not None and told[2] is not None and f"a “{parent}” (" in told[2]
        alone = told is None and part in self.parents and self.parents[part] != part
        errs = self.errs_alone if alone else self.errs if right else self.errs_below_unsure if alternative else self.errs_below_wrong
        suspects = next(self.chance) < (self.suspects_wrongly if right else self.suspects)
        return self._named(part, next(self.chance) < errs, suspects)

    def _named(self, part: int, wrong: bool, suspects: bool = False) -> Answer:
        true, names = self.truth[part], sorted(set(self.truth.values()) - {self.truth[part]})
        other = names[int(next(self.chance) * len(names))]
        name, second = (other, true) if wrong else (true, other)
        unsure = next(self.chance) < (0.7 if wrong else 0.2)
        alternatives = [{"name": second, "score": 0.3}] if not wrong or next(self.chance) < 0.7 else []
        text = json.dumps({"thinking": "", "name": name, "synonyms": [], "function": "", "alternatives": alternatives, "parent_suspect": suspects})
        return Answer(text, ((text[: text.index(name)], 0.0), (name, math.log(0.45 if unsure else 0.9)), (text[text.index(name) + len(name):], 0.0)))

    def _again(self, request: Request) -> Answer:
        """The more of its parts are named rightly, the better it sees the whole."""
        part = next(_part(t) for t in reversed(request.turns[:-1]) if t.images)
        told = re.findall(r"^- “(.*)”$", request.turns[-1].text, re.M)
        inside = {name for child, name in self.truth.items() if self.parents[child] == part}
        right = sum(name in inside for name in told) / max(len(told), 1)
        return self._named(part, next(self.chance) < self.errs_below_wrong + right * (self.errs - self.errs_below_wrong))

    def _beside(self, asked: Turn) -> str:
        renamed = []
        shown = [_part(Turn("user", "", (image,))) for image in asked.images]
        for number, (part, name) in enumerate(zip(shown, re.findall(r"^\d+\. “(.*?)”: ", asked.text, re.M)), 1):
            true = self.truth[part]
            if name != true and next(self.chance) < self.sees_beside:
                renamed.append({"number": number, "name": true, "reason": "seen beside the others"})
            elif name == true and next(self.chance) < self.spoils_beside:
                renamed.append({"number": number, "name": f"other {true}", "reason": "confused"})
        return json.dumps({"thinking": "", "renamed": renamed})


def _part(turn: Turn) -> int:
    return int(turn.images[0].decode())


def scene(seed: int, num_parts: int = 40) -> tuple[Subject, dict[int, str]]:
    """A tree whose parts have names of their own, but for look-alikes: a third of the siblings without parts share one."""
    rng = np.random.default_rng(seed)
    parents = [int(rng.integers(p + 1, min(num_parts, p + 2 + num_parts // 4))) for p in range(num_parts - 1)] + [num_parts - 1]
    has_parts = set(parents)
    truth = {p: f"thing {p}" for p in range(num_parts)}
    shape = dict(truth)
    for parent in has_parts:
        small = [c for c in range(num_parts - 1) if parents[c] == parent and c not in has_parts]
        for child in small[1:]:
            if rng.random() < 0.5:
                truth[child] = truth[small[0]]
                shape[child] = shape[small[0]]
    tree = PartTree(np.array(parents, np.int32), np.linspace(0, 1, num_parts, dtype=np.float32), np.arange(num_parts, dtype=np.int32),
                    np.zeros((0, 3), np.int32), np.zeros(0, np.float32))
    facts = {p: PartFacts(shape[p], "", "block", False, "small", (1.0, 1.0, 1.0), 0.1, "at the top", parents.count(p), 0) for p in range(num_parts)}
    return Subject(tree, facts, lambda part: (str(part).encode(),), {}), truth


def wrong_share(labels: dict[int, NodeLabel], truth: dict[int, str]) -> float:
    return float(np.mean([labels[p].name != name for p, name in truth.items()]))


def measure(config: LabelConfig, num_trees: int = 120, **habits: float) -> tuple[float, float, float]:
    """Mean share of wrong names, its standard error over trees, and calls a part."""
    wrong, calls = [], []
    for seed in range(num_trees):
        subject, truth = scene(seed)
        model = Confused(truth, {p: int(q) for p, q in enumerate(subject.parts.parents)}, seed, **habits)
        asker = Asker(model, {}, lambda key, answer, seconds: None)
        wrong.append(wrong_share(label_parts(subject, asker, config), truth))
        calls.append(asker.calls / len(truth))
    return float(np.mean(wrong)), float(np.std(wrong) / np.sqrt(num_trees)), float(np.mean(calls))


def main() -> None:
    print("| passes | wrong names | calls a part |\n|---|---|---|")
    for name, config in SWITCHES.items():
        wrong, error, calls = measure(config)
        print(f"| {name} | {wrong:.3f} ± {error:.3f} | {calls:.2f} |")


if __name__ == "__main__":
    main()

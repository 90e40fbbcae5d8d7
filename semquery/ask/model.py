"""A question put to a language model in two stages, as R2S does with embeddings: first what matters, then what is meant.

Stage 1 shows the scene from a few sides and the table of parts, and hears which parts matter, each as an anchor or a
candidate; branches that the table leaves out may be opened. Stage 2 is a conversation of its own: the same scene and
question, and of the relevant parts pictures, places, relations and likenesses; it hears which parts are meant, and why.
Both begin with the same turns, which do not depend on the question as long as the whole scene fits the table: whoever
keeps a cache of prompt beginnings reads the scene once.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float64

from semquery.ask.augment import augmented
from semquery.ask.config import AskConfig
from semquery.ask.pictures import close_ups, marked, overviews
from semquery.ask.priors import told
from semquery.ask.read import Decision, Relevance, decision_from, is_answer, relevance_from
from semquery.ask.record import SURE_NOT_KNOWN, AskAnswer, Considered, Subject
from semquery.ask.schema import DECISION_SCHEMA, RELEVANT_SCHEMA
from semquery.ask.shortlist import Row, Shortlist, opened, shortlist
from semquery.ask.sure import agreement, targets_probability
from semquery.ask.table import line, quoted, table
from semquery.labelling import Asker
from semquery.labelling.asking import Outcome
from semquery.labelling.asking import ask as ask_until_read
from semquery.labelling.confidence import NOT_KNOWN
from semquery.labelling.config import REPAIR_TEMPERATURE
from semquery.labelling.parse import without_thoughts
from semquery.prompts import fill, template
from semquery.vlm import Request, Turn, VlmError

LONGEST_QUOTED = 2000  # letters of an answer that the model hears again
MAY_OPEN = "List in “open” the parts whose inside you have to see first, where the table leaves it out, or a row of several.\n"
LAST = "No more can be opened. "
NOTHING_FOUND = "not known: the first answer named no part to decide on"
HEARD = "I have looked at the pictures and read the table."


def ask_model(question: str, subject: Subject, asker: Asker, config: AskConfig = AskConfig()) -> AskAnswer:
    """The model's answer. Raises ValueError when it gives none that can be read, Unreachable, OutOfCalls."""
    talk = Talk(question, subject, asker, config)
    return talk.answer()


@dataclass
class Talk:
    """One question on its way; what was asked and found so far."""

    question: str
    subject: Subject
    asker: Asker
    config: AskConfig
    calls: int = 0
    steps: list[str] = field(default_factory=list)
    more: list[Row] = field(default_factory=list)  # rows that were opened

    def answer(self) -> AskAnswer:
        self._note_rows()
        found = self.first() if self.config.stages == 2 else Relevance(())
        if self.config.stages == 2 and not found.relevant:
            return self._answered(Decision((), found.thinking or "No part of the scene matters for this question."), (), NOT_KNOWN, NOTHING_FOUND)
        others = [p for p in self.known if p != self.subject.parts.root and p not in {each.part for each in found.relevant}]
        relevant, dice = augmented(found.relevant, others, self.config)
        self.steps += dice
        decision, sure, by = self.decide(relevant)
        return self._answered(decision, relevant, sure, by)

    # ------------------------------------------------------------------ what is known

    @cached_property
    def lead(self) -> Float64[np.ndarray, " p"]:
        return self.subject.lead(self.question)

    @cached_property
    def listed(self) -> Shortlist:
        return shortlist(self.subject.parts, self.lead, self.subject.labels, self.config.rows)

    @property
    def rows(self) -> tuple[Row, ...]:
        return (*self.listed.rows, *self.more)

    @property
    def known(self) -> frozenset[int]:
        """The ids that an answer may name."""
        return frozenset(part for row in self.rows for part in row.parts)

    @cached_property
    def scene(self) -> tuple[Turn, ...]:
        """The turns that every question about the scene begins with."""
        images = overviews(self.subject, self.listed.parts, self.config.overviews, self.config.side)
        shown = "The pictures show the scene; blue patches bear the ids of what lies directly in it.\n" if images else ""
        some = f"some of its {self.subject.parts.num_parts} parts; how many more lie inside one of them stands beside its name"
        listed = f"These are {some if self.listed.hidden else 'all its parts'}:"
        said = fill(template("ask_scene.md"), pictures=shown, frame=self.subject.places.frame.origin, listed=listed,
                    table=table(self.listed.rows, self.subject))
        return (Turn("system", template("ask_system.md")), Turn("user", said, images), Turn("assistant", HEARD))

    # ------------------------------------------------------------------ stage 1

    def first(self) -> Relevance:
        """The relevant parts, after as many branches were opened as the model wants and may have."""
        may_open = MAY_OPEN if self.config.rounds and (self.listed.hidden or len(self.listed.parts) > len(self.listed.rows)) else ""
        turns = (*self.scene, Turn("user", fill(template("ask_relevant.md"), question=inside_quotes(self.question), open=may_open)))
        found, heard = self._relevance(turns)
        for left in range(self.config.rounds - 1, -1, -1):
            rows = opened(self.subject.parts, self.lead, self.subject.labels, self.rows, found.open, self.config.rows)
            if not rows:
                break
            self.more += rows
            self.steps.append(f"The model had part {', '.join(map(str, found.open))} opened: {len(rows)} more rows.")
            inner = fill(template("ask_opened.md"), table="\n".join(line(row, self.subject) for row in rows), last="" if left else LAST)
            turns = (*turns, Turn("assistant", heard), Turn("user", inner))
            found, heard = self._relevance(turns)
        return replace(found, relevant=self._kept(found.relevant))

    def _relevance(self, turns: tuple[Turn, ...]) -> tuple[Relevance, str]:
        """What the model finds relevant, and its answer as it hears it again."""
        outcome = self._asked(turns, RELEVANT_SCHEMA, lambda text: relevance_from(text, self.known))
        self._note(outcome.read.unknown)
        return outcome.read, without_thoughts(outcome.answer.text, is_answer)[:LONGEST_QUOTED] or "{}"

    def _kept(self, relevant: Sequence[Considered]) -> tuple[Considered, ...]:
        """As many as may be taken on, candidates before anchors, in the order in which they were named."""
        first = sorted(relevant, key=lambda each: each.role == "anchor")[: self.config.relevant]
        kept = tuple(each for each in relevant if each in first)
        count = {role: sum(each.role == role for each in kept) for role in ("candidate", "anchor")}
        more = f", and {len(relevant) - len(kept)} more that were left out" if len(kept) < len(relevant) else ""
        said = [f"{number} {role}{'' if number == 1 else 's'}" for role, number in count.items()]
        self.steps.append(f"Relevant are {' and '.join(said)}{more}.")
        return kept

    # ------------------------------------------------------------------ stage 2

    def decide(self, relevant: Sequence[Considered]) -> tuple[Decision, float, str]:
        """The decision, how sure it is, and where that number is from."""
        turns = (*self.scene, self.decisive(relevant))
        outcome = self._asked(turns, DECISION_SCHEMA, lambda text: decision_from(text, self.known))
        decision = outcome.read
        self._note(decision.unknown)
        return (decision, *self._sure(decision, Request(turns, None, DECISION_SCHEMA, self.config.max_tokens), outcome))

    def decisive(self, relevant: Sequence[Considered]) -> Turn:
        """The last question, with what is known of the relevant parts."""
        anchors, candidates = ([each.part for each in relevant if each.role == role] for role in ("anchor", "candidate"))
        priors, images = "", ()
        if relevant:
            around = marked(self.subject, anchors, candidates, min(2, self.config.overviews), self.config.side)
            close = close_ups(self.subject, [*candidates, *anchors][: self.config.closeups])
            shown = [(part, pngs[-1:]) for part, pngs in close.items() if pngs]
            images = (*around, *(png for _, pngs in shown for png in pngs))
            priors = fill(template("ask_priors.md"), parts=told(relevant, self.lead, self.subject),
                          pictures=_shown(len(around), [part for part, _ in shown]))
        more = f"Further parts of the scene, as you wanted to see them:\n{table(self.more, self.subject)}\n" if self.more else ""
        return Turn("user", fill(template("ask_decide.md"), opened=more, question=inside_quotes(self.question), relevant=priors), images)

    def _sure(self, decision: Decision, request: Request, outcome: Outcome) -> tuple[float, str]:
        certain = targets_probability(outcome.answer.tokens)
        if certain is not None:
            return certain, "the probability of the answer's own tokens"
        if not self.config.agreement:
            return NOT_KNOWN, SURE_NOT_KNOWN
        samples = [self._sample(request, k) for k in range(self.config.agreement)]
        return agreement(decision.targets, samples), f"the agreement of {len(samples) + 1} answers"

    def _sample(self, request: Request, k: int) -> Collection[int] | None:
        """The targets of one more answer. Temperatures differ by a hair, so that each has a key of its own."""
        self.calls += 1
        try:
            answer = self.asker(replace(request, temperature=REPAIR_TEMPERATURE + 0.001 * (k + 1)))
        except VlmError:
            return None
        read = decision_from(answer.text, self.known)
        return None if read is None else read.targets

    # ------------------------------------------------------------------ both

    def _asked(self, turns: tuple[Turn, ...], schema: dict[str, Any], read: Any) -> Outcome:
        """An answer that was read. Raises ValueError where there is none."""
        outcome = ask_until_read(self.asker, Request(turns, None, schema, self.config.max_tokens), read, self.config.repairs)
        self.calls += outcome.calls
        if outcome.read is None:
            self.asker.check_reached()
            reason = outcome.reason.rstrip(".")
            raise ValueError(f"The question was not answered: {reason}. What was answered is recorded; the same command goes on from there.")
        return outcome

    def _note_rows(self) -> None:
        if self.listed.hidden:
            left_out = f"{self.listed.hidden} of {self.subject.parts.num_parts} parts were left out of it"
            self.steps.append(f"The table has {len(self.listed.rows)} rows; {left_out}.")

    def _note(self, unknown: Iterable[str]) -> None:
        said = [quoted(each, 40) for each in unknown]
        if said:
            self.steps.append(f"The model named {', '.join(said)}, which the table does not have: left out.")

    def _answered(self, decision: Decision, relevant: Sequence[Considered], sure: float, by: str) -> AskAnswer:
        targets = tuple(sorted(self.subject.laid.highest(decision.targets), key=decision.targets.index))
        inner = [part for part in decision.targets if part not in targets]
        steps = [*self.steps, *([f"Part {', '.join(map(str, inner))} lies inside another that was named."] if inner else [])]
        return AskAnswer(
            self.question, targets, decision.explanation, tuple(relevant), decision.rejected, sure, by, f"model {self.asker.vlm.identity}",
            self.subject.places.frame.origin, tuple(steps), self.calls)


def inside_quotes(question: str) -> str:
    """The question as it stands between quotation marks; it is bounded before."""
    return quoted(question, 10**6)[1:-1]


def _shown(num_around: int, close: Sequence[int]) -> str:
    """What the pictures of the second question show, in order."""
    first = {0: "", 1: "The first picture shows", 2: "The first two pictures show"}[num_around]
    around = f"{first} them in the scene, candidates outlined in red and anchors in blue, each with its id." if first else ""
    near = f"The {'next' if num_around else 'first'} pictures show closely, one each, outlined in red: {', '.join(map(str, close))}." if close else ""
    return " ".join(sentence for sentence in (around, near) if sentence)

"""A question answered without a model: by its form and by geometry, or by what is said of the parts.

A question that counts, compares, relates or excludes is resolved on the tree and in space. Any other is compared with
names, synonyms and function lines. What neither can answer is said to be beyond it, with what comes closest.
"""

from dataclasses import replace

from semquery.ask.record import AskAnswer, Considered, Subject
from semquery.phrases import Phrase, is_plain
from semquery.types import Hit

BY_NAMES = "how well the words fit those of the parts"
ALIKE = 0.005  # difference of scores that says nothing
ASK_A_MODEL = "To have a model think about it, name one: vlm:open-ai-server --vlm.model NAME"


def ask_symbolic(question: str, subject: Subject) -> AskAnswer:
    """What rules and names can tell; `failed` says why there is nothing."""
    phrase = subject.searcher.understood(question)
    if not is_plain(phrase):
        found = resolved(question, phrase, subject)
        if not found.failed:
            return found
        by_words = described(question, phrase, subject)
        if by_words.targets and not says_what_for(by_words, subject):  # "the leg nearest to the piano" is no leg where no piano is
            return replace(found, failed=f"{found.failed.rstrip('.')}. {ASK_A_MODEL}")
        return by_words.after(f"By its form the question could not be answered: {found.failed}")
    return described(question, phrase, subject)


def says_what_for(answer: AskAnswer, subject: Subject) -> bool:
    """Whether the words of the question were found in what a target is for, or are its very name."""
    texts = {each.why for each in answer.relevant if each.part in answer.targets}
    known = [subject.labels[part] for part in answer.targets if part in subject.labels]
    return any(label.function in texts or answer.question.casefold().strip(" ?.!") == label.name.casefold() for label in known)


def resolved(question: str, phrase: Phrase, subject: Subject) -> AskAnswer:
    """The parts that a phrase means, by the tree and by geometry."""
    found = subject.searcher.resolution(phrase, subject.places)
    asks_for_one = phrase.number == 1 and not phrase.also
    members = found.members[:1] if asks_for_one else found.members
    targets = members if phrase.also else tuple(subject.laid.highest(members))  # what was named answers, also inside another
    also = tuple((part, "fits as well; the question does not tell which") for part in found.members if asks_for_one and part not in targets)
    sure = subject.searcher.probability(phrase) if found.members else 0.0
    relevant = tuple(Considered(part, "anchor", "the question says where it is from there") for part in found.anchors)
    return AskAnswer(question, targets, _names(targets, subject), relevant + tuple(Considered(part, "candidate", "") for part in found.members),
                     also + found.rejected, sure, BY_NAMES, "symbolic", subject.places.frame.origin, found.steps, 0,
                     found.failed or ("" if targets else "nothing in the scene fits"))


def described(question: str, phrase: Phrase, subject: Subject) -> AskAnswer:
    """The part of which is said what comes closest to the question."""
    text = phrase.head if is_plain(phrase) and phrase.head else question
    try:
        hits = subject.searcher.find(text, phrase=Phrase(text))
        chance = subject.searcher.closest(text)[1]
    except ValueError as error:  # no word of it is known to the encoder
        return AskAnswer(question, sure=0.0, sure_by=BY_NAMES, method="names", failed=f"{str(error).rstrip('.')}. {ASK_A_MODEL}")
    if not hits:
        failed = f"No model was named, and nothing here is called or described like that; {subject.searcher.closest_in_words(text)} {ASK_A_MODEL}"
        return AskAnswer(question, sure=1 - chance, sure_by=BY_NAMES, method="names", failed=failed)
    best, *others = hits
    explanation = f"No model was asked; the words of the question fit best what is said of it: “{best.matched}”."
    rejected = tuple((hit.part, _why_not(hit, best)) for hit in others)
    return AskAnswer(question, best.members or (best.part,), explanation, tuple(Considered(hit.part, "candidate", hit.matched) for hit in hits),
                     rejected, best.probability, BY_NAMES, "names")


def _why_not(hit: Hit, best: Hit) -> str:
    if hit.score > best.score - ALIKE:
        return f"“{hit.matched}” fits as well; the question does not tell which is meant"
    return f"“{hit.matched}” fits less well ({hit.score:.2f} against {best.score:.2f})"


def _names(targets: tuple[int, ...], subject: Subject) -> str:
    if not targets:
        return ""
    return f"By the part tree and geometry alone: {', '.join(f'{subject.name(part)} ({part})' for part in targets)}."

"""Questions by purpose: "what would I press to start it?" to the parts that are meant, and why.

With a language model in two stages (`model`), as in R2S: the parts that matter, then, shown these, the parts that are
meant. Without one by the form of the question and by names (`symbolic`), which say when they cannot.
"""

from semquery.ask.config import AskConfig
from semquery.ask.model import ask_model
from semquery.ask.record import AskAnswer, Considered, Subject
from semquery.ask.shortlist import Row, Shortlist, shortlist
from semquery.ask.symbolic import ask_symbolic
from semquery.labelling import Asker

__all__ = ["AskAnswer", "AskConfig", "Considered", "Row", "Shortlist", "Subject", "ask", "ask_model", "ask_symbolic", "checked_question", "shortlist"]

LONGEST = 1000  # characters of a question


def ask(question: str, subject: Subject, asker: Asker | None = None, config: AskConfig = AskConfig()) -> AskAnswer:
    """The parts that answer a question; `targets` is empty where the scene has none, `failed` says where nobody could tell.

    Raises ValueError for a question that cannot be read, and as `ask_model` does.
    """
    asked = checked_question(question)
    return ask_symbolic(asked, subject) if asker is None else ask_model(asked, subject, asker, config)


def checked_question(question: str) -> str:
    """The question without blanks around it. Raises ValueError for one that is empty or very long."""
    if not question.strip():
        raise ValueError("The question is empty; ask something such as “what would I press to start it?”.")
    if len(question) > LONGEST:
        raise ValueError(f"The question has {len(question)} characters, and at most {LONGEST} are read; ask in a sentence or two.")
    return question.strip()

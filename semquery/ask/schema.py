"""What the answers look like: JSON schemas for servers that can enforce one. Thinking comes first; every length is bounded."""


from semquery.labelling.schema import bounded, record

_PART = {"type": "integer", "minimum": 0}
_RELEVANT = {
    "type": "array", "maxItems": 32,
    "items": record(part=_PART, role={"type": "string", "enum": ["anchor", "candidate"]}, why=bounded(200)),
}

RELEVANT_SCHEMA = record(thinking=bounded(800), relevant=_RELEVANT, open={"type": "array", "items": _PART, "maxItems": 8})
DECISION_SCHEMA = record(
    thinking=bounded(800), targets={"type": "array", "items": _PART, "maxItems": 64}, explanation=bounded(600),
    rejected={"type": "array", "maxItems": 16, "items": record(part=_PART, why=bounded(200))},
)

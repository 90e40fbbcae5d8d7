"""Written queries with known answers, and how well they are answered.

How the set was made
  One author wrote the queries from the part trees, names and renderings of the scenes, before any code that scores a
  query was written or read, and without the descriptions in `descriptions.json`. Another author wrote those: what a
  good labeller would say of each true name (synonyms and one line of function), without the queries.
  No query was changed after it had been scored.

What is in it
  One file a scene in `sets/`: the demo table-top, the six objects of `eval.objects`, seven PartNet-Mobility objects.
  Every query has one kind:

  name       the part's true name, or a part of it, in the singular or the plural
  synonym    a word a person would use that is not in the true name
  purpose    a question about what a part does ("what would I press to start it?")
  relation   a place or a rank among parts ("the second drawer from the top")
  compound   an owner, a number or an exclusion ("buttons but not the start button")
  absent     a plausible part that the scene does not have, among them ranks that are too high ("the third blade")

  `answer` lists the parts that answer together. `also` lists other answers that a fair judge would accept. Answers
  are compared by the surface they cover, so a group node and all its members are the same answer.
  Left, right, front and back are as a viewer in front of the object sees them: looking along +y, with +x to the right.
  Beside the answers stand the paths of names of all parts that occur in them, so that a scene whose numbers changed is
  noticed; of data that may not be passed on stands a digest of the path. Halves: see `written.half_of`.
"""

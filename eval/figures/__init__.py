"""The pictures of the README, made anew from the demo's scene: `python -m eval.figures`, or `make figures`.

They show a run whose masks are scikit-image regions of 50 photos, whose surface is the scene's mesh, and whose field and part
tree were trained and built by the stages that users run. Its names are the true ones, given to the parts that match a true
part; the other parts keep names that were measured. The same scene gives the same bytes, but for the browser's pictures.
"""

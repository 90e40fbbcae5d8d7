"""The commands of `semquery`: what each takes, says and returns. The work is in `stages`."""

from semquery.commands.asking import ask, query
from semquery.commands.making import fit, masks, tree
from semquery.commands.mesh import mesh
from semquery.commands.naming import encode, label, report
from semquery.commands.showing import demo, export, view
from semquery.commands.surface import surface

__all__ = ["ask", "demo", "encode", "export", "fit", "label", "masks", "mesh", "query", "report", "surface", "tree", "view"]

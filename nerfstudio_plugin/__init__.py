"""semquery as a nerfstudio method: `ns-train semquery` and `ns-train semquery-tiny`."""

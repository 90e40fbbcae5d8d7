"""semquery as nerfstudio methods: `ns-train semquery`, `semquery-splat`, and `-tiny` for a CPU."""

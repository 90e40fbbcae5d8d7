"""Pictures of an object's nodes, rendered from its mesh."""

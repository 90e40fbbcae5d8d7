"""Objects of our own in PartNet's layout: sound ones drawn by seed, and faulty ones."""

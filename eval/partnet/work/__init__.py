"""Many objects: in this process, in several, on a Ray cluster; kept as they are done."""

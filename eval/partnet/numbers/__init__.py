"""Records to numbers: one object, all objects, two methods beside each other."""

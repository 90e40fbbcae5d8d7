"""semquery: ask a captured 3D scene for any part of it, and get that part in 3D.

Photos with poses → masks → surface → ultrametric feature field → part tree → names → answers.
The modules are described in the README; `semquery demo` runs them all.
"""

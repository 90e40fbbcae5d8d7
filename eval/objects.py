"""Six objects in the manner of PartNet, each with its true part tree: names, nesting and the usual difficulties.

chair       repeated bars and legs; "the four legs" is one part in four places
lamp        parts with a single part; a thin cord
scissors    two alike halves that cross
microwave   many small buttons
cabinet     parts of one name under different parents; tiny feet
plate       round things: hot dogs in buns, on a plate

Conventions
  Metres; z is up, fronts look towards -y. Each object is about 1 m across, the scissors a quarter of that.
  Colours mostly tell parts apart, but as in real things some parts share one: legs, fronts, the wood of a frame.
"""

from collections.abc import Callable
from itertools import product

import numpy as np

from eval.viewpoints import views_of
from semquery.procedural import KnownScene, Leaf, annulus, arc, assemble, bar, box, chain, ellipsoid, prism, rod

__all__ = ["SCENES", "chair", "lamp", "scissors", "microwave", "cabinet", "plate", "views_of"]

SIDES = (-1, 1)
CORNERS = tuple(product(SIDES, SIDES))


def chair() -> KnownScene:
    """A wooden armchair with a barred back."""
    wood, dark = (158, 104, 62), (74, 48, 36)
    frame = {f"back_frame_vertical_bar#{k}": Leaf(wood, (box((0.23 * s, 0.22, 0.72), (0.045, 0.04, 0.54)),), "z") for k, s in enumerate(SIDES)}
    frame["back_frame_horizontal_bar"] = Leaf((196, 146, 92), (box((0, 0.22, 0.965), (0.52, 0.05, 0.07), 0.015),), "x")
    spindles = {f"back_surface_vertical_bar#{k}": Leaf((222, 190, 136), (bar((x, 0.22, 0.46), (x, 0.22, 0.94), (0.016, 0.016)),), "z")
                for k, x in enumerate((-0.13, 0.0, 0.13))}
    arms = {f"arm#{k}": {
        "arm_holistic_frame": Leaf((96, 120, 92), (box((0.255 * s, 0.0, 0.665), (0.055, 0.42, 0.035), 0.012),), "y"),
        "arm_vertical_bar": Leaf((176, 182, 190), (bar((0.255 * s, -0.16, 0.44), (0.255 * s, -0.16, 0.66), (0.02, 0.02)),)),
    } for k, s in enumerate(SIDES)}
    legs = {f"leg#{k}": Leaf(dark, (box((0.22 * sx, 0.21 * sy, 0.21), (0.05, 0.05, 0.42), taper=0.65),), "z")
            for k, (sx, sy) in enumerate(CORNERS)}
    stretchers = {f"bar_stretcher#{k}": Leaf((186, 62, 52), (bar((0.205 * s, -0.2, 0.17), (0.205 * s, 0.2, 0.17), (0.016, 0.016)),), "y")
                  for k, s in enumerate(SIDES)}
    return assemble({
        "chair_back": {"back_frame": frame, "back_surface": spindles}, **arms,
        "chair_seat": Leaf(wood, (box((0, 0, 0.435), (0.54, 0.5, 0.06), 0.02),), "y"),
        "chair_base": {"leg_set": legs, "bar_stretcher_set": stretchers},
    }, "chair")


def lamp() -> KnownScene:
    """A table lamp: a shade open above and below, a bulb in it, and a cord on the table."""
    shade = annulus((0, 0, 0), np.array([(0.235, 0.50), (0.245, 0.50), (0.135, 0.80), (0.125, 0.80)]), 32)
    bulb = (ellipsoid((0, 0, 0.60), (0.055, 0.055, 0.065)), bar((0, 0, 0.50), (0, 0, 0.56), (0.025, 0.035)))
    base = (bar((0, 0, 0), (0, 0, 0.025), (0.15, 0.15), 32), bar((0, 0, 0.025), (0, 0, 0.07), (0.15, 0.03), 32))
    along = np.linspace(0, 1, 25)
    cord = np.stack([0.14 + 0.55 * along, 0.12 * np.sin(2 * np.pi * along), np.full(25, 0.008)], 1)
    return assemble({"table_or_floor_lamp": {
        "lamp_unit": {
            "lamp_head": {"lamp_shade": Leaf((232, 212, 168), shade), "light_bulb": Leaf((250, 244, 150), bulb)},
            "lamp_body": {"lamp_pole": Leaf((172, 128, 60), (bar((0, 0, 0.06), (0, 0, 0.51), (0.018, 0.018)),))},
        },
        "lamp_base": {"lamp_base_part": Leaf((68, 104, 110), base)},
        "power_cord": {"cord": Leaf((40, 40, 44), chain(cord, 0.006, 8))},
    }}, "lamp")


def scissors() -> KnownScene:
    """Scissors half open: two crossed levers with a screw."""
    colors = ((206, 72, 52), (64, 96, 168))
    levers = {f"blade_handle_set#{k}": _lever(s, color) for k, (s, color) in enumerate(zip(SIDES, colors, strict=True))}
    return assemble({**levers, "screw": Leaf((212, 178, 84), (rod((0, 0, 0.012), 0.009, 0.018, "z"),))}, "scissors", grain_size=0.25)


def _lever(side: int, color: tuple[int, int, int]) -> dict:
    """One half: a blade to +y, and past the screw a loop for the fingers to -y; `side` mirrors it."""
    turn = np.radians(14.0 * side)
    rotate = np.array([[np.cos(turn), np.sin(turn), 0], [-np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    low = 0.012 if side > 0 else 0.0045  # the two halves lie on one another
    middle = low + 0.004
    outline = np.array([(-0.012, -0.03), (0.009, -0.03), (0.011, 0.02), (0.004, 0.135), (-0.002, 0.14), (-0.009, 0.02)]) * (side, 1)
    loop = chain(arc((0.012 * side, -0.088, middle), (0.022, 0.034), "z"), 0.0075)
    shank = bar((-0.002 * side, -0.022, middle), (0.004 * side, -0.058, middle), (0.011, 0.009))
    return {
        "blade": Leaf((186, 192, 200), (prism(outline, low, low + 0.007) @ rotate,)),
        "handle": Leaf(color, tuple(solid @ rotate for solid in (*loop, shank))),
    }


def microwave() -> KnownScene:
    """A microwave oven with a keypad of twelve buttons."""
    front = -0.25
    rails = ((-0.385, 0, 0.07, 0.48), (0.195, 0, 0.11, 0.48), (-0.08, 0.2, 0.56, 0.08), (-0.08, -0.2, 0.56, 0.08))
    door = {
        "door_frame": Leaf((86, 90, 98), tuple(box((x, front - 0.015, z), (w, 0.04, h), 0.005) for x, z, w, h in rails)),
        "glass": Leaf((34, 44, 70), (box((-0.095, front - 0.008, 0), (0.54, 0.016, 0.34)),)),
        "handle": Leaf((226, 222, 212), (bar((0.205, front - 0.085, -0.2), (0.205, front - 0.085, 0.2), (0.018, 0.018)),
                                         *(box((0.205, front - 0.055, z), (0.022, 0.06, 0.022)) for z in (-0.15, 0.15)))),
    }
    face, x = front - 0.03, 0.375
    keys = {f"control_button#{k}": Leaf((238, 236, 228), (box((x + 0.068 * (column - 1), face - 0.006, 0.02 - 0.052 * row), (0.05, 0.024, 0.036)),))
            for k, (row, column) in enumerate(product(range(4), range(3)))}
    switches = {f"{name}_button": Leaf(color, (box((x + 0.052 * s, face - 0.006, -0.2), (0.088, 0.024, 0.042)),))
                for name, color, s in (("stop", (208, 60, 48), -1), ("start", (56, 168, 84), 1))}
    feet = {f"foot#{k}": Leaf((30, 30, 32), (rod((0.42 * sx, 0.2 * sy, -0.265), 0.028, 0.04, "z"),)) for k, (sx, sy) in enumerate(CORNERS)}
    return assemble({
        "body": {"body_frame": Leaf((200, 203, 206), (box((0, 0.005, 0), (0.98, 0.5, 0.5), 0.012),)), "base": feet},
        "door": door,
        "control_panel": {
            "panel_frame": Leaf((122, 112, 100), (box((x, front - 0.012, 0), (0.23, 0.036, 0.48), 0.005),)),
            "display": Leaf((104, 205, 214), (box((x, face - 0.003, 0.2), (0.17, 0.008, 0.05)),)),
            "dial": Leaf((226, 154, 46), (rod((x, face - 0.014, 0.115), 0.042, 0.034, "y"),)),
            "control_button_set": keys, "switch_button_set": switches,
        },
    }, "microwave")


def cabinet() -> KnownScene:
    """A sideboard: three drawers on the left; on the right two doors below, and an open niche with shelves above."""
    oak, front, metal = (198, 152, 98), -0.2, (64, 68, 74)
    panels = {"vertical_side_panel#0": ((-0.485, 0, 0), (0.03, 0.4, 0.74)), "vertical_side_panel#1": ((0.485, 0, 0), (0.03, 0.4, 0.74)),
              "vertical_divider_panel": ((-0.13, 0.0, 0.006), (0.03, 0.39, 0.73)), "back_panel": ((0, 0.185, 0.006), (0.96, 0.02, 0.73))}
    frame = {name: Leaf((168, 112, 70) if "side" in name else (150, 160, 150), (box(*solid),), "z") for name, solid in panels.items()}
    frame["top_panel"] = Leaf(oak, (box((0, -0.005, 0.385), (1.02, 0.43, 0.035), 0.008),), "x")
    frame["bottom_panel"] = Leaf((112, 74, 48), (box((0, 0, -0.36), (0.94, 0.39, 0.03)),), "x")
    drawers = {f"drawer#{k}": {
        "drawer_front": Leaf((222, 214, 196), (box((-0.306, front + 0.005, z), (0.332, 0.03, 0.232)),)),
        "handle": Leaf(metal, (bar((-0.37, front - 0.03, z), (-0.246, front - 0.03, z), (0.009, 0.009)),
                               *(bar((x, front, z), (x, front - 0.03, z), (0.006, 0.006)) for x in (-0.355, -0.261)))),
    } for k, z in enumerate((0.25, 0.012, -0.226))}
    doors = {f"cabinet_door#{k}": {
        "cabinet_door_surface": Leaf((96, 132, 150), (box((0.178 + 0.147 * s, front + 0.005, -0.171), (0.29, 0.03, 0.344)),)),
        "handle": Leaf((206, 170, 80), (bar((0.178 + 0.03 * s, front, -0.08), (0.178 + 0.03 * s, front - 0.03, -0.08), (0.008, 0.016)),)),
    } for k, s in enumerate(SIDES)}
    shelves = {f"shelf#{k}": Leaf((214, 176, 122), (box((0.178, 0.0, z), (0.58, 0.37, 0.022)),), "x") for k, z in enumerate((0.016, 0.19))}
    feet = {f"foot#{k}": Leaf((48, 40, 36), (bar((0.44 * sx, 0.16 * sy, -0.405), (0.44 * sx, 0.16 * sy, -0.37), (0.012, 0.016)),))
            for k, (sx, sy) in enumerate(CORNERS)}
    return assemble({"cabinet": {
        "cabinet_frame": frame, "shelf_set": shelves, "drawer_set": drawers, "cabinet_door_set": doors, "cabinet_base": {"foot_base": feet},
    }}, "storage_furniture")


def plate() -> KnownScene:
    """Two hot dogs with mustard on a plate, with a leaf of lettuce and a slice of tomato."""
    rim = annulus((0, 0, 0), np.array([(0.25, 0.005), (0.26, 0.022), (0.44, 0.075), (0.445, 0.06)]), 40)
    lettuce = tuple(ellipsoid((0.205 + 0.03 * np.cos(k), 0.09 + 0.035 * k, 0.035 + 0.01 * (k % 2)), (0.06, 0.04, 0.014)) for k in range(-1, 3))
    tomato = bar((0.18, -0.1, 0.022), (0.184, -0.1, 0.05), (0.056, 0.054), 28)
    return assemble({
        "plate": {"plate_rim": Leaf((70, 112, 170), rim), "plate_base": Leaf((232, 232, 228), (bar((0, 0, 0), (0, 0, 0.022), (0.25, 0.26), 40),))},
        "hot_dog_set": {f"hot_dog#{k}": _hot_dog(x, bend) for k, (x, bend) in enumerate(((-0.16, 0.02), (0.03, -0.015)))},
        "garnish": {"lettuce_leaf": Leaf((104, 164, 64), lettuce), "tomato_slice": Leaf((200, 44, 38), (tomato,))},
    }, "hot_dog_plate")


def _hot_dog(x: float, bend: float) -> dict:
    """A sausage along y in a split bun; `bend` is how far its middle is from a straight line."""
    y = np.linspace(-1, 1, 17)
    center = x + bend * (1 - y**2)
    sausage = chain(np.stack([center, 0.2 * y, np.full(17, 0.098)], 1), 0.034, 14)
    ends = tuple(ellipsoid((x, 0.2 * s, 0.098), (0.034, 0.034, 0.034), 14) for s in SIDES)
    halves = tuple(ellipsoid((x + bend / 2 + 0.047 * s, 0, 0.068), (0.044, 0.185, 0.05)) for s in SIDES)
    floor = ellipsoid((x + bend / 2, 0, 0.05), (0.05, 0.175, 0.03))
    zigzag = np.stack([center + 0.018 * np.sin(7 * np.pi * y), 0.17 * y, np.full(17, 0.132)], 1)
    return {"bun": Leaf((206, 150, 84), (*halves, floor)), "sausage": Leaf((150, 66, 44), (*sausage, *ends)),
            "mustard": Leaf((236, 192, 40), chain(zigzag, 0.008, 8))}


SCENES: dict[str, Callable[[], KnownScene]] = {
    "chair": chair, "lamp": lamp, "scissors": scissors, "microwave": microwave, "cabinet": cabinet, "plate": plate,
}

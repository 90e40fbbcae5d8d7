"""The words that the rules know: determiners, numbers, places, superlatives, nouns that name nothing, irregular plurals."""

DETERMINERS = frozenset("the a an this that these those my your his her its their our".split())
ALL = frozenset("all every each some several".split())
NUMBERS = {w: k for k, w in enumerate("one two three four five six seven eight nine ten eleven twelve".split(), 1)}
ORDINALS = {w: k for k, w in enumerate("first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split(), 1)}
ORDINALS |= {"last": -1, "final": -1, "penultimate": -2, "second-last": -2, "third-last": -3}

PLACES = {
    "top": "top", "upper": "top", "bottom": "bottom", "lower": "bottom", "left": "left", "left-hand": "left", "right": "right",
    "right-hand": "right", "front": "front", "back": "back", "rear": "back", "middle": "middle", "centre": "middle", "center": "middle",
    "central": "middle",
}
SUPERLATIVES = {
    "topmost": "top", "uppermost": "top", "highest": "top", "bottommost": "bottom", "lowermost": "bottom", "lowest": "bottom",
    "leftmost": "left", "rightmost": "right", "frontmost": "front", "foremost": "front", "rearmost": "back", "backmost": "back",
    "hindmost": "back", "middlemost": "middle", "largest": "largest", "biggest": "largest", "smallest": "smallest", "littlest": "smallest",
    "tiniest": "smallest", "longest": "longest", "shortest": "shortest", "tallest": "tallest", "widest": "widest", "broadest": "widest",
    "narrowest": "narrowest", "thickest": "thickest", "thinnest": "thinnest", "slimmest": "thinnest",
}
# a place and the word after it that together are a name, not a choice among several
NAMES = frozenset(
    "back rest, back board, back plate, back pack, back splash, back light, back cushion, back support, top hat, top coat, front end, "
    "right angle, right angled, second hand, first aid, middle finger, upper arm, lower arm, upper leg, lower leg".split(", "))

ANY = frozenset("thing things part parts object objects item items element elements component components something anything everything "
                "piece pieces one ones".split())
CLAUSES = frozenset("that which who whose what you i we they he she it to when where how if can could would should will does do did for "
                    "with without used while so because".split())
# of what follows them, they are a container or a measure: “chest of drawers” is one name
MEASURES = frozenset("chest pair piece bottle box cup glass set bunch stack kind type sort bit roll bag bowl jar can tin tub tube carton packet "
                     "pack pile slice row heap sheet bar block rack tray loaf pot basket crate case point line column angle coat leaf work "
                     "pieces bottles boxes cups sets stacks rolls bags bowls rows".split())

PAIRED = frozenset("scissors glasses sunglasses spectacles pliers tongs tweezers goggles binoculars shears trousers pants jeans shorts "
                   "headphones earphones stairs lens series species chassis news gas bus canvas atlas gallows bellows contents always "
                   "perhaps yes cosmos christmas mathematics physics electronics clippers secateurs callipers calipers".split())
IRREGULAR = {"feet": "foot", "teeth": "tooth", "men": "man", "women": "woman", "people": "person", "children": "child", "mice": "mouse",
             "shelves": "shelf", "knives": "knife", "leaves": "leaf", "halves": "half", "loaves": "loaf", "scarves": "scarf",
             "bookshelves": "bookshelf", "wolves": "wolf", "axes": "axis", "lenses": "lens", "buses": "bus", "gases": "gas",
             "ones": "one"}


def singular(text: str) -> str:
    """The words with the last of them in the singular."""
    before, _, word = text.rpartition(" ")
    return f"{before} {_singular(word)}".strip()


def is_plural(text: str) -> bool:
    """Whether the noun is a plural: of "chest of drawers", the chest. Pairs that are one thing ("scissors") are not."""
    word = text.partition(" of ")[0].rpartition(" ")[2]
    return _singular(word) != word


def _singular(word: str) -> str:
    known = IRREGULAR.get(word) or next((IRREGULAR[w] for w in IRREGULAR if len(w) > 4 and word.endswith(f"-{w}")), "")
    if known:
        return known
    if word in PAIRED or len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is", "'s")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-2] if word.endswith(("ches", "shes", "sses", "xes", "zzes")) else word[:-1]

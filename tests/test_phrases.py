"""Phrases: what the rules make of queries, and that nothing they are given breaks them.

The table says what is expected in short: the head, then what differs from a plain phrase: n = how many (None: all),
order = rank/side, pick, relations as kind(anchor), and not(what is excluded).
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semquery.phrases import KINDS, PICKS, SIDES, SIZES, Order, Phrase, Relation, is_plain, is_plural, parse, singular

EXPECTED = """
handle                                             => 'handle'
the handle                                         => 'handle'
The Handle!                                        => 'handle'
handle of the left drawer                          => 'handle' part_of('drawer' pick=left)
the left drawer's handle                           => 'handle' part_of('drawer' pick=left)
The left drawer’s handle                           => 'handle' part_of('drawer' pick=left)
all the legs                                       => 'legs' n=None
legs                                               => 'legs' n=None
every button                                       => 'button' n=None
both handles                                       => 'handles' n=2
two legs                                           => 'legs' n=2
the two legs                                       => 'legs' n=2
all four legs                                      => 'legs' n=None
all of the legs                                    => 'legs' n=None
one of the legs                                    => 'leg'
three of the buttons                               => 'buttons' n=3
the buttons                                        => 'buttons' n=None
buttons but not the start button                   => 'buttons' n=None not('start button')
all buttons except the green one                   => 'buttons' n=None not('green button')
legs other than the front ones                     => 'legs' n=None not('legs' n=None pick=front)
all drawers except the top one and the bottom one  => 'drawers' n=None not('drawer' pick=top) not('drawer' pick=bottom)
all the drawers but the top                        => 'drawers' n=None not('drawer' pick=top)
every knob apart from the dial                     => 'knob' n=None not('dial')
everything but the legs                            => '' n=None not('legs' n=None)
everything                                         => '' n=None
anything                                           => '' n=None
not the door                                       => '' n=None not('door')
no door                                            => '' n=None not('door')
not a door                                         => '' n=None not('door')
all but the legs                                   => '' n=None not('legs' n=None)
door with a handle                                 => 'door' with('handle')
the drawer that has a handle                       => 'drawer' with('handle')
2. slat                                            => 'slat 2'
slat #2                                            => 'slat 2'
number 2 slat                                      => 'slat 2'
the legs, not the back ones                        => 'legs' n=None not('legs' n=None pick=back)
the second drawer from the top                     => 'drawer' order=2/top
third button from the left                         => 'button' order=3/left
last drawer                                        => 'drawer' order=-1/
2nd shelf from the bottom                          => 'shelf' order=2/bottom
the second to last shelf                           => 'shelf' order=-2/
second drawer down                                 => 'drawer' order=2/top
the second from the top                            => '' order=2/top
which drawer is the second from the top?           => 'drawer' order=2/top
first two buttons from the left                    => 'buttons' n=2 order=1/left
the last two slats                                 => 'slats' n=2 order=-1/
the second drawer of the cabinet from the top      => 'drawer' order=2/top part_of('cabinet')
second drawer from the top of the left cabinet     => 'drawer' order=2/top part_of('cabinet' pick=left)
second largest button                              => 'button' order=2/largest
the second lowest shelf                            => 'shelf' order=2/bottom
the topmost shelf                                  => 'shelf' pick=top
largest panel                                      => 'panel' pick=largest
biggest button                                     => 'button' pick=largest
the largest of the buttons                         => 'button' pick=largest
which of the buttons is the largest?               => 'button' pick=largest
which of the legs is closest to the door           => 'leg' nearest('door')
the bottom drawer                                  => 'drawer' pick=bottom
upper left button                                  => 'button' pick=top left
top-left button                                    => 'button' pick=top left
the button in the top left corner of the panel     => 'button' pick=top left part_of('panel')
front left leg                                     => 'leg' pick=front left
left-handed scissors                               => 'left-handed scissors'
left-hand drawer                                   => 'drawer' pick=left
the left hand drawer                               => 'drawer' pick=left
the leftmost table leg                             => 'table leg' pick=left
the button above the dial                          => 'button' above('dial')
the knob to the left of the display                => 'knob' left('display')
the button left of the start button                => 'button' left('start button')
right of the dial                                  => '' right('dial')
the button right above the dial                    => 'button' above('dial')
button directly below the display                  => 'button' below('display')
the shelf between the two doors                    => 'shelf' between('doors' n=2)
what is between the door and the window            => '' between('door', 'window')
the container closest to the door                  => 'container' nearest('door')
leg nearest to the microwave                       => 'leg' nearest('microwave')
leg nearest the microwave                          => 'leg' nearest('microwave')
the leg farthest from the door                     => 'leg' farthest('door')
the leg furthest away from the chair               => 'leg' farthest('chair')
the screw in the handle                            => 'screw' inside('handle')
what is under the seat                             => '' below('seat')
What's under the seat?                             => '' below('seat')
what parts are under the seat                      => '' n=None below('seat')
the thing on top of the table                      => '' on('table')
what is on the table                               => '' on('table')
something above the dial                           => '' above('dial')
everything above the seat                          => '' n=None above('seat')
part of the door                                   => '' part_of('door')
parts of the door                                  => '' n=None part_of('door')
show me the handle                                 => 'handle'
Please show me all the buttons                     => 'buttons' n=None
find the lid                                       => 'lid'
where is the second slat from the top?             => 'slat' order=2/top
where's the dial                                   => 'dial'
tell me where the handle is                        => 'handle'
can you find the start button please               => 'start button'
could you please show me where the knobs are       => 'knobs' n=None
which drawer is closest to the window              => 'drawer' nearest('window')
which button is below the display?                 => 'button' below('display')
table top                                          => 'table top'
back rest                                          => 'back rest'
back                                               => 'back'
bottom panel                                       => 'panel' pick=bottom
the top                                            => 'top'
top of the table                                   => 'top' part_of('table')
the back of the chair                              => 'back' part_of('chair')
slats in the back of the chair                     => 'slats' n=None inside('back' part_of('chair'))
thing to hold                                      => 'thing to hold'
button that starts it                              => 'button that starts it'
something you press to start                       => 'something you press to start'
what you hold to open the door                     => 'what you hold to open the door'
What would I press to start it?                    => 'what would i press to start it'
what is used to open the door                      => 'what is used to open the door'
handle of the drawer below the shelf               => 'handle' part_of('drawer' below('shelf'))
chest of drawers                                   => 'chest of drawers'
pair of handles                                    => 'handles' n=2
a pair of scissors                                 => 'pair of scissors'
box of tissues                                     => 'box of tissues'
the button on the left                             => 'button' pick=left
the button on the left door                        => 'button' on('door' pick=left)
the buttons on the right side                      => 'buttons' n=None pick=right
knob on the front of the oven                      => 'knob' on('front' part_of('oven'))
the handle on the door                             => 'handle' on('door')
power on switch                                    => 'power on switch'
on off switch                                      => 'on off switch'
built-in light                                     => 'built-in light'
under counter light                                => 'under counter light'
light under the counter                            => 'light' below('counter')
the drawer with the handle on the left             => 'drawer' with('handle' pick=left)
the button that is above the dial                  => 'button' above('dial')
the legs that are in front                         => 'legs' n=None pick=front
the front legs                                     => 'legs' n=None pick=front
the two front legs                                 => 'legs' n=2 pick=front
leg in front of the seat                           => 'leg' front('seat')
the chair's leg nearest to the table               => 'leg' part_of('chair') nearest('table')
the door's handle's screw                          => 'screw' part_of('handle' part_of('door'))
the buttons above the dial and left of the display => 'buttons' n=None above('dial') left('display')
scissors                                           => 'scissors'
glasses                                            => 'glasses'
the stairs                                         => 'stairs'
shelves                                            => 'shelves' n=None
press the button above the dial                    => 'button' above('dial')
open the door                                      => 'open the door'
turn the volume up                                 => 'turn the volume up'
it's broken                                        => "it's broken"
what                                               => 'what'
???                                                => '???'
der Griff der Tür                                  => 'der griff der tür'
取っ手                                                => '取っ手'
the handle of the                                  => 'handle of the'
is there a second button                           => 'button' order=2/
button 3                                           => 'button 3'
buttons 1 and 2                                    => 'buttons 1 and 2'
the handle and the knob                            => 'handle' and('knob')
the handle, the lid and the knob                   => 'handle the lid' and('knob')
the drawers and both doors                         => 'drawers' n=None and('doors' n=2)
handles of the door and the drawer                 => 'handles' n=None part_of('door' and('drawer'))
salt and pepper                                    => 'salt and pepper'
what opens the lid and the door                    => 'what opens the lid and the door'
the door without the handle                        => 'door' not('handle')
door without its handle                            => 'door' not('handle')
drawer without a handle                            => 'drawer' without('handle')
the drawer that has no handle                      => 'drawer' without('handle')
drawers with no handles                            => 'drawers' n=None without('handles' n=None)
chair without arms                                 => 'chair' without('arms' n=None)
what runs without batteries                        => 'what runs without batteries'
thing to open it without the key                   => 'thing to open it without the key'
the buttons in the same row as the start button    => 'buttons' n=None row('start button')
the key in the same column as button 4             => 'key' column('button 4')
the bottom row of buttons                          => 'buttons' n=None inside('row' pick=bottom)
the second row of keys from the top                => 'keys' n=None inside('row' order=2/top)
the left column of buttons on the door             => 'buttons' n=None inside('column' pick=left) on('door')
the bottom row of the buttons                      => 'buttons' n=None inside('row' pick=bottom)
the top row of the shelf                           => 'row' pick=top part_of('shelf')
row of buttons                                     => 'row of buttons'
the drawer that is second from the top             => 'drawer' order=2/top
button at the bottom right of the keypad           => 'button' pick=bottom right part_of('keypad')
the lowest slat                                    => 'slat' pick=bottom
tallest post                                       => 'post' pick=tallest
the middle button                                  => 'button' pick=middle
the button in the middle                           => 'button' pick=middle
button in the middle of the keypad                 => 'button' pick=middle part_of('keypad')
the second button in the top row                   => 'button' order=2/ inside('row' pick=top)
one-way valve                                      => 'one-way valve'
two door cabinet                                   => 'two door cabinet'
i am looking for the oven door                     => 'oven door'
leg of the chair closest to the table              => 'leg' part_of('chair' nearest('table'))
drawer not including the handle                    => 'drawer' not('handle')
left and right handles                             => 'left and right handles' n=None
the buttons left of the start button               => 'buttons' n=None left('start button')
the topmost of the shelves                         => 'shelf' pick=top
the two leftmost buttons                           => 'buttons' n=2 pick=left
top two drawers                                    => 'drawers' n=2 pick=top
both of the handles                                => 'handles' n=2
one of the drawers                                 => 'drawer'
each leg                                           => 'leg' n=None
any button                                         => 'button'
a leg                                              => 'leg'
the 3rd button from the right                      => 'button' order=3/right
fourth slat from the bottom                        => 'slat' order=4/bottom
the last drawer from the top                       => 'drawer' order=-1/top
the drawer next to the oven                        => 'drawer' near('oven')
lamp beside the bed                                => 'lamp' near('bed')
the switch by the door                             => 'switch' near('door')
cup on top of the shelf                            => 'cup' on('shelf')
the panel behind the seat                          => 'panel' behind('seat')
mirror over the sink                               => 'mirror' above('sink')
what is in the drawer                              => '' inside('drawer')
which shelf is above the sink?                     => 'shelf' above('sink')
the hinge on the left side of the door             => 'hinge' pick=left part_of('door')
the smallest of the three knobs                    => 'knob' pick=smallest
drawers except the second one from the top         => 'drawers' n=None not('drawer' order=2/top)
the knob with the red dot                          => 'knob' with('red dot')
locate the power button                            => 'power button'
highlight every hinge                              => 'hinge' n=None
I want to see the hinges                           => 'hinges' n=None
is there a handle on the door?                     => 'handle' on('door')
the screws in both handles                         => 'screws' n=None inside('handles' n=2)
between the posts                                  => '' between('posts' n=None)
something between the posts                        => '' between('posts' n=None)
the pole in the middle of the table                => 'pole' pick=middle part_of('table')
rear left wheel                                    => 'wheel' pick=back left
front wheels                                       => 'wheels' n=None pick=front
upper shelves                                      => 'shelves' n=None pick=top
rightmost of the knobs                             => 'knob' pick=right
"""
CASES = [tuple(line.split(" => ")) for line in EXPECTED.strip().split("\n")]


def short(phrase: Phrase) -> str:
    """A phrase in the notation of the table."""
    said = [repr(phrase.head)]
    said += [f"n={phrase.number}"] if phrase.number != 1 else []
    said += [f"order={phrase.order.rank}/{phrase.order.along}"] if phrase.order else []
    said += [f"pick={phrase.pick}"] if phrase.pick else []
    said += [f"{relation.kind}({', '.join(map(short, relation.of))})" for relation in phrase.relations]
    said += [f"not({short(other)})" for other in phrase.exclude]
    return " ".join(said + [f"and({short(other)})" for other in phrase.also])


def every(phrase: Phrase):
    """The phrase and all phrases in it."""
    yield phrase
    for inner in (*(a for relation in phrase.relations for a in relation.of), *phrase.exclude, *phrase.also):
        yield from every(inner)


@pytest.mark.parametrize(("query", "expected"), CASES)
def test_a_query_is_taken_apart_as_a_reader_would(query, expected):
    assert short(parse(query)) == expected.strip()


def test_the_table_is_long_and_says_nothing_twice():
    assert len(CASES) >= 120 and len({query.strip() for query, _ in CASES}) == len(CASES)


def test_a_plain_name_gives_its_head_and_nothing_else():
    assert parse("door handle") == Phrase("door handle", text="door handle")
    assert is_plain(parse("door handle")) and is_plain(parse("thing to hold")) and not is_plain(parse("all the legs"))


def test_the_parts_of_a_phrase_are_records_that_can_be_compared():
    drawer = Phrase("drawer", order=Order(2, "top"), text="the second drawer from the top", name="second drawer")
    assert parse("handle of the second drawer from the top").relations == (Relation("part_of", (drawer,)),)


@pytest.mark.parametrize(("query", "name"), [
    ("the bottom panel", "bottom panel"), ("the two upper left buttons", "upper left buttons"), ("the panel", ""), ("largest of the panels", ""),
    ("the second drawer of the desk", "second drawer")])
def test_words_taken_for_a_choice_are_kept_as_a_name_they_might_be(query, name):
    assert parse(query).name == name


def test_a_phrase_remembers_the_words_it_was_made_from():
    phrase = parse("  Show me the Handle of the left drawer! ")
    assert phrase.text == "Show me the Handle of the left drawer!"
    assert phrase.relations[0].of[0].text == "the left drawer" and str(phrase.relations[0].of[0]) == "the left drawer"


@pytest.mark.parametrize("query", ["", " ", "?", "the", "of", "'s", "not", "all", "second", "on the", "between", "and", "left", "🪑", "取っ手を探す", "ручка двери", "\x00", "İ'S"])
def test_scraps_and_other_languages_stay_whole(query):
    phrase = parse(query)
    assert not phrase.relations and not phrase.exclude and phrase.text == query.strip()


@given(st.text(max_size=120))
def test_no_text_breaks_the_rules(text):
    assert_sound(parse(text))


WORDS = st.sampled_from("the a all both two second last left top of above between and in on to is that which not but except from the nearest "
                        "largest leg legs drawer's handles one ones part 's , ? it you front row pair side corner middle without a no same as".split())


@given(st.lists(WORDS, max_size=25).map(" ".join))
def test_no_order_of_its_own_words_breaks_the_rules(text):
    assert_sound(parse(text))


def depth(phrase: Phrase) -> int:
    return 1 + max((depth(a) for a in (*(a for relation in phrase.relations for a in relation.of), *phrase.also)), default=0)


def assert_sound(phrase: Phrase) -> None:
    """Whatever it says, it says it in terms of the module."""
    for inner in every(phrase):
        assert inner.number is None or inner.number >= 1
        assert set(inner.pick.split()) <= set(PICKS)
        assert inner.order is None or (inner.order.rank != 0 and inner.order.along in ("", *SIDES, *SIZES))
        assert all(relation.kind in KINDS and relation.of for relation in inner.relations)


@given(st.lists(WORDS, max_size=12).map(" ".join))
def test_case_and_spaces_change_nothing(text):
    assert short(parse(f"  {text.upper()}  ")) == short(parse(text))


@pytest.mark.parametrize("word", ["of the ", "left ", "second ", "show me ", "'s ", "in the top ", "between and ", "but not ", "and the ", "leg and the ", "without a ", "x", "that is ", "leg's "])
def test_ten_thousand_characters_nest_only_so_deep(word):
    """What is nested deeper than the rules follow stays text, so neither time nor recursion runs away."""
    phrase = parse(word * (10_000 // len(word)))
    assert depth(phrase) <= 10 and len(phrase.text) > 9_900


@pytest.mark.parametrize(("plural", "one"), [
    ("legs", "leg"), ("boxes", "box"), ("shelves", "shelf"), ("batteries", "battery"), ("switches", "switch"), ("feet", "foot"), ("keys", "key"),
    ("table legs", "table leg"), ("handles", "handle"), ("lenses", "lens"), ("glasses", "glasses"), ("scissors", "scissors"), ("glass", "glass"),
    ("bus", "bus"), ("axis", "axis"), ("gas", "gas"), ("", ""), ("s", "s")])
def test_singulars(plural, one):
    assert singular(plural) == one and is_plural(plural) == (plural != one) and singular(one) == one


def test_the_head_of_a_name_with_of_is_what_stands_before_it():
    assert not is_plural("chest of drawers") and is_plural("chests of drawers")

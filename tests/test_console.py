"""What a person reads."""

from helpers import part_tree, small_labels, small_parts

from semquery.console import print_hits, print_tree, printable
from semquery.types import Hit


def test_the_tree_is_indented_and_parts_without_a_name_are_numbers(capsys):
    print_tree(small_parts(), {p: label for p, label in small_labels().items() if p != 2})
    assert capsys.readouterr().out.splitlines() == [
        "    4  scene  (12 points)",
        "      3  panel  (8 points)",
        "        0  left knob  (4 points)",
        "        1  right knob  (3 points)",
        "      2    (4 points)",
    ]


def test_a_long_tree_is_cut_and_says_so(capsys):
    print_tree(part_tree([9] * 10, list(range(10))), {}, most=4)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and lines[-1] == "  … and 6 more (parts.json has all)"


def test_hits_are_ranked_with_path_score_size_and_reason(capsys):
    print_hits("knob", [Hit(1, 0.934, ("panel", "right knob"), "right knob", "its name is closest.", 3, (2.0, 0.5, 0.01234)),
                        Hit(0, 0.8, ("panel", "left knob"), "left knob", "so is this.", 4, (3.0, 0.0, 0.0))])
    assert capsys.readouterr().out.splitlines() == [
        "1. panel / right knob   part 1, 100 % likely, lerf 0.934, 3 points, 2 × 0.5 × 0.0123",
        "   its name is closest.",
        "2. panel / left knob   part 0, 100 % likely, lerf 0.800, 4 points, 3 × 0 × 0",
        "   so is this.",
    ]


def test_a_group_tells_its_members_and_steps_are_lines(capsys):
    print_hits("knobs", [Hit(0, 0.8, ("panel", "left knob"), "knob", "first this,\nthen that.", 7, (3.0, 2.0, 0.0), (0, 1), 0.625, "cosine")])
    assert capsys.readouterr().out.splitlines() == [
        "1. panel / left knob   2 parts (0, 1), 62 % likely, cosine 0.800, 7 points, 3 × 2 × 0", "   first this,", "   then that."]


def test_no_hit_says_so_and_where_the_names_are(capsys):
    print_hits("submarine", [], "Nothing here is called anything like it.")
    assert capsys.readouterr().out == "“submarine”: not found in this scene. Nothing here is called anything like it. (semquery export RUN lists all names.)\n"


def test_control_characters_are_spelled_out(capsys):
    assert printable("knob \x1b[2J\r\u202e“Tür”") == "knob \\x1b[2J\\r\\u202e“Tür”"
    print_hits("\x1b[31mknob", [])
    print_hits("knob", [Hit(0, 0.5, ("panel", "kn\x07ob"), "knob", "first\x1b\nsecond", 3, (1.0, 1.0, 1.0), (0,), 0.9, "lerf")])
    told = capsys.readouterr().out
    assert all(c.isprintable() or c == "\n" for c in told) and "kn\\x07ob" in told and "\n   second" in told

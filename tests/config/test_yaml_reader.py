import time

import pytest

from segdla.config import parse, parse_overrides, parse_yaml
from segdla.config.yaml_reader import read_word, read_yaml
from segdla.errors import UserError

SCENES = {"data": {"dataset": "scenes"}}
CAMVID = {"data": {"dataset": "camvid", "root": "x"}}
BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]" for i in range(1, 40))])
MERGES = "\n".join(["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}], y{i}: 1}}" for i in range(1, 40))])
CHAIN = "\n".join(["a0: &a0 x", *(f"a{i}: &a{i} {'[' * 9}*a{i - 1}{']' * 9}" for i in range(1, 500))])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "more than 20,000 values"),
        (MERGES, "more than 20,000 values"),
        (CHAIN, "nested more than 40 deep"),
        ("[" * 100_000, "nested more than 40 deep"),
        ("{a: " * 50_000, "nested more than 40 deep"),
        ("- " * 100_000, "nested more than 40 deep"),
        ("? " * 100_000, "nested more than 40 deep"),
        ("a: &a [*a]", "'a' holds an alias to itself"),
        ("a: [" + "1," * 21_000 + "]", "more than 20,000 values"),
        ("#" * 10_000_000, "more than 250,000 characters"),
    ],
    ids=lambda value: value[:12],
)
def test_size_depth_and_aliases_are_bounded(text, message):
    start = time.process_time()
    with pytest.raises(UserError) as error:
        read_yaml(text, "c.yaml")
    assert str(error.value).startswith("c.yaml: ") and message in str(error.value)
    assert time.process_time() - start < 30  # it was minutes, or forever


@pytest.mark.parametrize(
    "text",
    [
        *(
            f"a: !!{tag} {value}"
            for tag in ("bool", "int", "float")
            for value in ("''", "x", "'-'", "1:30", "[]", "0x")
        ),
        *(f"a: !!{tag} x" for tag in ("timestamp", "binary", "set", "omap", "pairs", "python/object:os.system", "x")),
        "!<",
        "!a!b c",
        "%TAG",
        "a: *b",
        "\0",
        "\ud800",
        "a: '\\",
        'a: "\\x',
        'a: "\\U00110000"',
        'a: "\\uD800"',
        '"\\uDFFF": a',
        'a: "\\UFFFFFFFF"',
        "? [a]\n: b",
        "{a: 1}\n---\n{a: 1}",
        f"a: {'9' * 5000}",
        f"&{'a' * 100_000} a: *{'b' * 100_000}",
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_every_error_is_one_short_line(text):
    with pytest.raises(UserError, match="not valid YAML") as error:
        read_yaml(text, "c.yaml")
    assert str(error.value).isprintable() and len(str(error.value)) < 400


def test_aliases_within_bounds_are_read():
    text = "a: &a {x: 1, y: [2]}\nb: *a\nc: {<<: *a, x: 3}\nd: {<<: [*a, {z: 4}]}"
    a = {"x": 1, "y": [2]}
    assert read_yaml(text, "c.yaml") == {"a": a, "b": a, "c": {"x": 3, "y": [2]}, "d": {"x": 1, "y": [2], "z": 4}}


@pytest.mark.parametrize("text", ["{a: 1, a: 2}", "{7: a, 007: b}", "{a: {7: a, +7: b}}"])
def test_a_key_given_twice_is_answered(text):
    with pytest.raises(UserError, match=r"the key '[a7]' is given twice"):
        read_yaml(text, "c.yaml")


def test_many_keys_take_no_long_time():
    assert len(read_yaml("".join(f"{i}: a\n" for i in range(3_000)), "c.yaml")) == 3_000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, int(text)) for text in ("0", "7", "-7", "+7", "255")),
        *((text, float(text)) for text in ("0.02", "1.", ".5", "-1.5", "010.5", "1.0e-4", "1.5e+3")),
        *(
            (text, text)
            for text in ("010", "08", "1:30", "1:30.5", "1_000", "1_0.5", "0x1F", "0b1", "1e-4", "2026-11-28")
        ),
        (".inf", float("inf")),
        ("!!int 010", 10),
        ("!!str 10", "10"),
        ("yes", True),
        ("~", None),
    ],
)
def test_numbers_are_decimal(text, value):
    assert read_yaml(text, "c.yaml") == value
    assert type(read_yaml(text, "c.yaml")) is type(value)


def test_ids_with_leading_zeros_are_the_numbers_written():
    splits = "train: {list: x}, val: {list: y}"
    text = f"{{dataset: folder, classes: [a, '8'], label_map: {{010: a, 011: '8'}}, ignore: [008], {splits}}}"
    data = parse_yaml(f"data: {text}").data
    assert (data.label_map, data.ignore) == ({10: "a", 11: "8"}, (8,))
    for id_ in ("1:30", "0x1F", "0b1"):
        with pytest.raises(UserError, match=f"'data.ignore.0' is '{id_}'"):
            parse_yaml(f"data: {text.replace('008', id_)}")


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("a #b", "a #b"),
        ("~/a: b", "~/a: b"),
        ("*.png", "*.png"),
        ("&a", "&a"),
        ("- a", "- a"),
        (" a ", " a "),
        ("'a #b'", "a #b"),
        ('"a b"', "a b"),
        ("[1, 2]", [1, 2]),
        ("{a: 1}", {"a": 1}),
        ("true", True),
        ("null", None),
        ("", None),
        ("0.02", 0.02),
        (" 7 ", 7),
        ("1e-4", "1e-4"),
        ("<<", "<<"),
    ],
)
def test_words_are_as_the_shell_gives_them_or_yaml(word, value):
    assert read_word(word, "override", as_text=False, nullable=True) == value


@pytest.mark.parametrize("root", ["a #b", "2024", "1e3", "010", "true", "~", "[a]", "{a}", "!a", "it's", " a", "a: b"])
def test_text_is_taken_as_it_is(root):
    assert parse(CAMVID, parse_overrides([f"data.root={root}"])).data.root == root
    assert parse(CAMVID, parse_overrides([f'data.root="{root}"'])).data.root == root


def test_text_may_be_null_where_the_key_may():
    config = parse({"data": {"dataset": "cityscapes", "root": "x", "cache_folder": "y"}})
    words = ["data.root=null", "data.cache_folder=null", "model.weights=null"]
    changed = parse(config.model_dump(), parse_overrides(words))
    assert (changed.data.root, changed.data.cache_folder, changed.model.weights) == (None, None, None)

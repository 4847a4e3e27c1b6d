"""Datasets on the Hub, read with the real `datasets` client from a local stand-in.

The client runs in a process of its own, which reads the stand-in's address when it starts, and answers all the tests.
"""

import contextlib
import functools
import json
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storygen.data.hub import WAITS, HubSource, detokenise, strip_tag
from storygen.errors import StorygenError
from tests.hub import Cut, HubStandIn

CLIENT = """
import dataclasses, json, sys, time
from storygen.data.hub import HubSource
from storygen.data.story import ReadReport
from storygen.errors import StorygenError

waits = []
sleep = time.sleep
def wait(seconds):  # for us and for the libraries, which have no setting for all of their waits
    waits.append(seconds)
    sleep(min(seconds, 0.001))
time.sleep = wait

for line in sys.stdin:
    report, stories, error = ReadReport("hub"), [], ""
    waits.clear()
    try:
        for story in HubSource(**json.loads(line)).stories(report):
            stories.append(dataclasses.asdict(story))
    except StorygenError as refusal:
        error = str(refusal)
    answer = {"stories": stories, "report": dataclasses.asdict(report), "error": error, "waits": waits}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """The stand-in, with ann/tales (two files of three rows each) and repositories that cannot be read."""
    root = tmp_path_factory.mktemp("repos")
    write(root / "tales", "train-00000-of-00002", text=["a0", "a1", "a2"], heading=["T0", "T1", None], age=[1, 2, 3])
    write(root / "tales", "train-00001-of-00002", text=["b0", "b1", "b2"], heading=["T3", "T4", "T5"], age=[4, 5, 6])
    write(root / "holes", "train-00000-of-00001", text=["one", None, " \n", "two"])
    (root / "empty").mkdir()
    repos = {"gated": 403, "login": 401, "broken": 500, **{folder.name: folder for folder in root.iterdir()}}
    with HubStandIn({f"datasets/ann/{name}": content for name, content in repos.items()}) as stand_in:
        stand_in.root = root
        yield stand_in


def write(folder, name, **columns):
    """Writes one parquet file of a dataset."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / "data" / f"{name}.parquet", row_group_size=2)


@contextlib.contextmanager
def running_client(url, folder):
    """A process that reads from the Hub at an address, its standard error in a file."""
    settings = {"HF_ENDPOINT": url, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1"}
    with (folder / "errors").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", CLIENT],
            env={**os.environ, **settings, "HF_HUB_ETAG_TIMEOUT": "2"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        process.errors = folder / "errors"
        try:
            yield process
        finally:
            process.communicate(timeout=20)
        assert process.returncode == 0


@pytest.fixture(scope="module")
def client(hub, tmp_path_factory):
    with running_client(hub.url, tmp_path_factory.mktemp("client")) as process:
        yield process


def ask(client, repo="ann/tales", **fields):
    """Reads a HubSource in the client: its stories, report and error, all waits, and what came on the screen."""
    before = len(client.errors.read_text())
    print(json.dumps({"repo": repo, **fields}), file=client.stdin, flush=True)
    answer = json.loads(client.stdout.readline())
    return {**answer, "screen": client.errors.read_text()[before:]}


@pytest.fixture
def read(hub, client):
    """Asks the client; the stand-in's faults end with the test."""
    yield functools.partial(ask, client)
    hub.faults.clear()


def texts(answer):
    return [story["text"] for story in answer["stories"]]


def our_waits(answer):
    """Those of WAITS; the libraries' are whole numbers."""
    return [wait for wait in answer["waits"] if isinstance(wait, float)]


def test_rows_come_in_order_from_all_files(read):
    """The files of a dataset make one story after the other, and nothing that the libraries log gets on the screen."""
    answer = read(title="heading")
    assert texts(answer) == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert [story["title"] for story in answer["stories"]] == ["T0", "T1", "", "T3", "T4", "T5"]
    assert len({story["source"] for story in answer["stories"]}) == 6
    assert answer["report"]["stories"] == 6
    assert (answer["error"], answer["screen"], answer["waits"]) == ("", "", [])


def test_parts_are_whole_files_and_all_of_them_are_the_dataset(read):
    """One dataset could not be divided between machines."""
    parts = [read(parts=2, part=part, title="heading") for part in range(2)]
    assert [texts(part) for part in parts] == [["a0", "a1", "a2"], ["b0", "b1", "b2"]]
    assert read(parts=3)["error"] == "Hub dataset 'ann/tales' has 2 data files; they don't make 3 parts"


def test_rows_without_text_are_skipped_and_counted(read):
    """A missing text must not end the reading, nor become the story "None"."""
    answer = read("ann/holes")
    assert texts(answer) == ["one", "two"]
    assert (answer["report"]["stories"], answer["report"]["skipped"]) == (2, 2)
    assert answer["report"]["examples"] == ["hub:2: no text in column 'text'", "hub:3: no text in column 'text'"]
    assert texts(read(text="age")) == []


def test_limit_counts_rows_and_join_makes_stories_of_several(read):
    """A dataset with a sentence a row would give stories of one sentence; the last few rows must not be lost."""
    assert texts(read(limit=4)) == ["a0", "a1", "a2", "b0"]
    joined = read(join=4)
    assert texts(joined) == ["a0 a1 a2 b0", "b1 b2"]
    assert {story["source"] for story in joined["stories"]} == {"ann/tales/block 0"}


def test_prompts_of_reddit_lose_their_tag_and_stories_to_one_prompt_share_a_source(hub, read):
    """Otherwise one prompt has answers on both sides of a train/validation split."""
    write(
        hub.root / "prompts",
        "train-00000-of-00001",
        story=["It was n't cold , and so on <newline> <newline> `` Hi . ''", "Second one .", "Third , here ."],
        prompt=["[ WP ] A ghost ca n't sleep .", "[WP] A ghost can't sleep.", "[ EU ] A wizard 's taxes ."],
    )
    hub.put("datasets/ann/prompts", hub.root / "prompts")
    answer = read("ann/prompts", text="story", prompt="prompt", tags=True, detokenise=True, max_words=9)
    assert texts(answer) == ["It wasn't cold, and so on\n", "Second one.", "Third, here."]
    assert [story["prompt"] for story in answer["stories"]] == ["A ghost can't sleep."] * 2 + ["A wizard's taxes."]
    assert len({story["source"] for story in answer["stories"]}) == 2


def test_a_connection_that_is_cut_goes_on(hub, read):
    """The client asks again by itself when a body ends too early: no row may be lost or come twice."""
    hub.faults["GET .*00001-of-00002.parquet"] = [Cut(300), Cut(300), 503]
    answer = read()
    assert texts(answer) == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert (answer["error"], answer["screen"], our_waits(answer)) == ("", "", [])


def test_what_the_client_gives_up_is_taken_up_at_the_row_where_it_broke(hub, read):
    """The client gives up after six failures: no row may be lost or come twice, nor the first file be read again."""
    for number in range(3):
        write(hub.root / "long", f"train-0000{number}-of-00003", text=[f"{number} {row}" for row in range(5)])
    hub.put("datasets/ann/long", hub.root / "long")
    hub.faults["GET .*00002-of-00003.parquet"] = [Cut(300)] * 6 + [500] * 6
    answer = read("ann/long")
    assert texts(answer) == [f"{number} {row}" for number in range(3) for row in range(5)]
    assert (answer["error"], answer["report"]["stories"], our_waits(answer)) == ("", 15, [1.0, 10.0])
    assert "broke off after row 10; trying again in 1.0 s" in answer["screen"]
    first = hub.asked("00000-of-00003.parquet")
    assert len(first) == 2  # one of them for the names of the columns


def test_a_server_that_never_recovers_is_one_line(hub, read):
    """Reading must end, without a traceback, and keep what came before."""
    hub.faults["GET .*00001-of-00002.parquet"] = [500] * 1000
    answer = read()
    assert texts(answer) == ["a0", "a1", "a2"]
    assert answer["error"].startswith("Hub dataset 'ann/tales' cannot be read on after row 3: ")
    assert "500" in answer["error"]
    assert "Traceback" not in answer["screen"]
    assert our_waits(answer) == list(WAITS)


def test_a_broken_file_is_not_tried_again(hub, read):
    """A file that is no parquet stays so: four waits for it would be three minutes lost."""
    write(hub.root / "bad", "train-00000-of-00002", text=["one"])
    (hub.root / "bad" / "data" / "train-00001-of-00002.parquet").write_bytes(b"this is not a parquet file")
    hub.put("datasets/ann/bad", hub.root / "bad")
    answer = read("ann/bad")
    assert texts(answer) == ["one"]
    assert answer["error"].startswith("Hub dataset 'ann/bad' cannot be read on after row 1: ")
    assert (answer["waits"], answer["screen"]) == ([], "")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"repo": "ann/none"}, "'ann/none' does not exist; check the name, or set HF_TOKEN if it is private"),
        ({"repo": "ann/gated"}, "'ann/gated' is gated; ask for access on its page and set HF_TOKEN"),
        ({"repo": "ann/login"}, "'ann/login' is gated; ask for access on its page and set HF_TOKEN"),
        ({"repo": "ann/broken"}, "'ann/broken' cannot be reached: the network or the Hub fails; try again later"),
        ({"repo": "ann/empty"}, "'ann/empty' cannot be opened: The directory at hf://datasets/ann/empty"),
        ({"revision": "v9"}, "'ann/tales' has no revision 'v9'"),
        ({"config": "long"}, "'ann/tales' cannot be opened: BuilderConfig 'long' not found. Available: ['default']"),
        ({"split": "test"}, "'ann/tales' cannot be opened: Bad split: test. Available splits: ['train']"),
        ({"text": "story"}, "'ann/tales' has no column 'story'; there are: text, heading, age"),
        ({"title": "name"}, "'ann/tales' has no column 'name'; there are: text, heading, age"),
    ],
)
def test_what_cannot_be_had_is_one_clear_line(read, fields, error):
    """A mistake in a name must not end in four libraries' tracebacks."""
    answer = read(**fields)
    assert answer["stories"] == []
    assert answer["error"].startswith("Hub dataset " + error)
    assert "\n" not in answer["error"]
    assert answer["screen"] == ""


def test_files_that_become_gated_are_not_tried_again(hub, read):
    """A gated dataset may show its card and refuse its files."""
    hub.faults["GET .*00001-of-00002.parquet"] = [403]
    answer = read()
    assert texts(answer) == ["a0", "a1", "a2"]
    assert answer["error"] == "Hub dataset 'ann/tales' is gated; ask for access on its page and set HF_TOKEN"
    assert answer["waits"] == []


def test_no_network_is_one_clear_line(tmp_path):
    """It must not end in a traceback, nor after minutes of trying."""
    with running_client("http://127.0.0.1:9", tmp_path) as client:
        answer = ask(client)
    assert answer["error"] == "Hub dataset 'ann/tales' cannot be reached; is there a network connection?"
    assert (answer["screen"], our_waits(answer)) == ("", [])


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, "HubSource.repo is ''; it must be the name of a dataset, user/name"),
        ({"repo": "tales"}, "HubSource.repo is 'tales'; it must be the name of a dataset, user/name"),
        ({"repo": "a/b", "text": ""}, "HubSource.text is ''; it must be the name of a column"),
        ({"repo": "a/b", "tags": True}, "HubSource.tags is True; that needs a prompt column"),
        ({"repo": "a/b", "join": 2, "title": "t"}, "HubSource.join is 2; joined rows have neither title nor prompt"),
        ({"repo": "a/b", "limit": 0}, "HubSource.limit is 0; it must be a whole number or empty, 1 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(fields, error):
    with pytest.raises(StorygenError) as refusal:
        HubSource(**fields)
    assert str(refusal.value) == error


def test_the_library_is_imported_only_to_read():
    """It takes a second, which `--help` must not cost."""
    code = "import sys, storygen.data.hub; print('datasets' in sys.modules, 'pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False False\n"


@pytest.mark.parametrize(
    ("tokenised", "plain"),
    [
        ("The cat sat , then slept .", "The cat sat, then slept."),
        ("`` Who 's there ? '' said Tom , `` and why ? ''", '"Who\'s there?" said Tom, "and why?"'),
        ("I ca n't , we 've , they 'll , he 'd , I 'm , you 're", "I can't, we've, they'll, he'd, I'm, you're"),
        ("IT 'S LATE , DO N'T GO !", "IT'S LATE, DON'T GO!"),
        ("One . <newline> <newline> `` Two , '' he said .", 'One.\n\n"Two," he said.'),
        ("Well ... no ? ! ( She sighed . ) 50 % of it", "Well... no?! (She sighed.) 50% of it"),
        ("We 're gon na see , I got ta go , gim me that", "We're gonna see, I gotta go, gimme that"),
    ],
)
def test_tokenised_text_becomes_prose(tokenised, plain):
    """A model that trains on tokenised text writes tokenised text."""
    assert detokenise(tokenised) == plain
    assert detokenise(plain) == plain


@pytest.mark.parametrize(
    "text",
    [
        "She said: \"No, 5% (or .5) won't do...\"\n\n'So,' he said, 'that :) is it.'",
        "He got me there -- at 10:30, no later; 'tis the dogs' own fault.",
        "A line\n  and an indented one, rock 'n' roll and the 's' in it",
    ],
)
def test_prose_stays_as_it_is(text):
    """Some copies of WritingPrompts have tokenised prompts and plain stories."""
    assert detokenise(text) == text


@pytest.mark.parametrize(
    ("prompt", "bare"),
    [
        ("[ WP ] You wake up .", "You wake up ."),
        ("[WP] You wake up.", "You wake up."),
        ("  [ wp ][EU]  You wake up. ", "You wake up."),
        ("You wake up [WP].", "You wake up [WP]."),
        ("[ Door opens ] Hello", "[ Door opens ] Hello"),
        ("[PI]", ""),
        ("", ""),
    ],
)
def test_tags_are_parsed_off(prompt, bare):
    """Users type no [ WP ]; a model that trained with it would need it."""
    assert strip_tag(prompt) == bare

import stat
import subprocess
import sys

import pytest

from storygen.errors import StorygenError
from storygen.server.keys import add_key, digest, owner_of, read_keys


@pytest.fixture
def file(tmp_path):
    return tmp_path / "keys.txt"


def test_a_key_is_printed_once_and_kept_as_a_hash(file):
    command = [sys.executable, "-m", "storygen.server.keys", str(file), "alice"]
    key = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert key.startswith("sg-") and len(key) > 40
    assert key not in file.read_text()
    assert file.read_text() == f"alice {digest(key)}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = subprocess.run(command, capture_output=True, text=True)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.startswith("error: there is a key called alice in")


def test_every_key_has_its_owner(file):
    keys = {name: add_key(file, name) for name in ("alice", "bob@example.org")}
    file.write_text("# made today\n\n" + file.read_text())
    kept = read_keys(file)
    assert {name: owner_of(key, kept) for name, key in keys.items()} == {name: name for name in keys}
    assert [owner_of(wrong, kept) for wrong in ("", "sg-", keys["alice"][:-1], "\ud800", digest(keys["alice"]))] == [
        None
    ] * 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no key, so nobody could get in"),
        ("# only a remark\n", "holds no key"),
        ("alice sg-plain-key\n", "line 1: a line must be a name, a space, and a SHA-256"),
        (f"# x\nalice {'0' * 64} more\n", "line 2: a line must be"),
        (f"alice {'0' * 64}\nalice {'1' * 64}\n", "line 2: there is a key called alice already"),
    ],
)
def test_a_file_that_says_nothing_clear_opens_no_door(file, text, message):
    file.write_text(text)
    with pytest.raises(StorygenError, match=message):
        read_keys(file)


def test_a_missing_file_is_not_no_keys(file):
    """A server whose key file has been misspelt must not serve everybody."""
    with pytest.raises(StorygenError, match="there is no file of keys"):
        read_keys(file)


@pytest.mark.parametrize("name", ["", "two words", "a\nb", "x" * 61, "é"])
def test_a_name_is_one_word_in_the_log(file, name):
    with pytest.raises(StorygenError, match="the name of a key must be"):
        add_key(file, name)
    assert not file.exists()

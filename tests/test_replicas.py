"""Several copies of the app behind one address share a folder of ratings."""

import subprocess
import sys

from storygen.arena.votes import read_votes

WRITE = """
import sys
from storygen.arena.votes import VoteStore

store = VoteStore(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    store.append({"replica": sys.argv[2], "number": number})
    print(number, flush=True)
"""


def test_three_processes_lose_none_of_each_others_ratings(tmp_path):
    """Two that write at once, and one that is killed in the middle: whatever was thanked for is there, once."""
    command = [sys.executable, "-c", WRITE, str(tmp_path)]
    replicas = {
        name: subprocess.Popen([*command, name, number], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name, number in (("a", "40"), ("b", "40"), ("c", "1000000"))
    }
    for replica in replicas.values():
        assert replica.stdout.readline() == "ready\n"
    for replica in replicas.values():
        replica.stdin.write("go\n")
        replica.stdin.flush()
    thanked = {"c": [replicas["c"].stdout.readline() for _ in range(10)]}
    replicas["c"].kill()
    thanked["c"] += replicas["c"].stdout.read().splitlines(keepends=True)
    for name in ("a", "b"):
        thanked[name] = replicas[name].communicate()[0].splitlines()
    found = [(vote["replica"], vote["number"]) for vote in read_votes(tmp_path)]
    assert len(found) == len(set(found))
    assert len(list(tmp_path.glob("*.jsonl"))) == 3
    for name in ("a", "b", "c"):
        numbers = [number for replica, number in found if replica == name]
        assert numbers == list(range(len(numbers)))
        assert len(thanked[name]) <= len(numbers) <= len(thanked[name]) + (name == "c")
    assert len(thanked["a"]) == len(thanked["b"]) == 40

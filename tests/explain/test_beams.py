import storygen
from storygen.explain import Beam, beam_tree
from storygen.writer import Candidate


def candidates(*stories):
    return [Candidate("", -float(number), "end", tuple(story)) for number, story in enumerate(stories)]


def paths(beam, before=()):
    """All (candidate, tokens) that the tree holds."""
    tokens = (*before, *beam.tokens)
    yield from ((number, tokens) for number in beam.ends)
    for way in beam.rest:
        yield from paths(way, tokens)


def test_a_small_tree(tokenizer):
    a, b, c, d = range(100, 104)
    tree = beam_tree(candidates([a, b, c], [a, d], [a, b], [a, b, c]), tokenizer)
    assert tree.tokens == (a,) and tree.ends == () and tree.best == 0
    through, away = tree.rest
    assert (through.tokens, through.ends) == ((b,), (2,))
    assert through.rest == (Beam(tokenizer.decode([c]), (c,), (0, 3), ()),)
    assert (away.tokens, away.ends, away.best, away.rest) == ((d,), (1,), 1, ())


def test_nothing_in_common_and_one_alone(tokenizer):
    assert beam_tree(candidates([1], [2]), tokenizer).tokens == ()
    assert beam_tree(candidates([1, 2, 3]), tokenizer) == Beam(tokenizer.decode([1, 2, 3]), (1, 2, 3), (0,), ())


def test_the_tree_of_a_search_holds_each_story_once(model_folders):
    writer = storygen.load(model_folders / "transformer")
    config = storygen.GenerationConfig(strategy="diverse_beam", num_beams=4, num_groups=2, max_new_tokens=12, seed=1)
    found = writer.generate("Once", config=config).candidates
    tree = beam_tree(found, writer.tokenizer)
    assert sorted(paths(tree)) == [(number, candidate.tokens) for number, candidate in enumerate(found)]

    def ways_differ(beam):
        first = [way.tokens[0] for way in beam.rest]
        forks = not beam.rest or len(beam.rest) + len(beam.ends) > 1
        return forks and len(set(first)) == len(first) and all(map(ways_differ, beam.rest))

    assert ways_differ(tree)

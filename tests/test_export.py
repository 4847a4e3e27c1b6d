"""What is exported is loaded by the `transformers` library itself and compared with the model that it came from."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tokenizers
import torch
from safetensors import safe_open

import storygen
from storygen import artifact
from storygen.errors import StorygenError
from storygen.evaluation.likelihood import text_likelihood
from storygen.export import export_transformers, tokenizer_json, transformers_weights
from storygen.models import build_model
from storygen.tokenizers import KINDS, CharTokenizer, SubwordTokenizer, train_tokenizer
from storygen.tokenizers.char import normalise
from tests.conftest import lively, tiny_config
from train import publish

ROOT = Path(__file__).parents[1]
WINDOW = 64  # context_length of the small models
TEXTS = (
    "Once upon a time there was a fox.",
    "",
    " ",
    "  two  spaces   and three ",
    "One.\n\nTwo.\r\n\tThree\n",
    "naïve café, Ærøskøbing – “quoted” … ½ ﬁ ① ｗｉｄｅ e\u0301",
    "狐と月 🦊👨‍👩‍👧 Ελλάδα\u200b\u00a0\ufeff",
    "## a##b ▁ x▁y <unk> [UNK] <s> </s>",
    "don't, I'll; 1234567 it's A.B. " + "x" * 150,
    "\x00\x7f\x1b[0m",
    "\U0001ccd6 \ua7f2 \U0001fbf7",  # newer than the Unicode tables of one library or another
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """On a busy machine two threads that wait for each other at every layer take forty times as long as one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def transformers():
    """The library; importing it takes seconds, so it is done once."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    return transformers


@pytest.fixture(scope="module")
def tokenizers_by_kind(tales, tokenizer):
    return {kind: tokenizer if kind == "bpe" else train_tokenizer(kind, tales, 400) for kind in KINDS}


def exported(folder, tokenizer, edit=None, **changes):
    """A small model, saved, loaded and exported to `folder`; the loaded artifact."""
    torch.manual_seed(0)
    shape = {"context_length": WINDOW, "rope_theta": 300.0, "norm_eps": 1e-3, **changes}  # no field at its default
    model = lively(build_model(tiny_config("transformer", tokenizer.vocab_size, **shape)))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)  # at 1 all norms are alike
        if edit:
            edit(model)
    loaded = artifact.load(artifact.save(folder.parent / "original", model, tokenizer, {"steps": 1}))
    export_transformers(loaded, folder)
    return loaded


@torch.inference_mode()
def greedy(model, prompt, steps, end):
    """The likeliest token, again and again, each time from the whole sequence; it stops after `end`.

    What is still to come is there as zeros, which no token sees: a new length a step costs a new kernel a step.
    """
    tokens = torch.tensor([[*prompt, *[0] * steps]])
    for length in range(len(prompt), tokens.shape[1]):
        tokens[0, length] = model(tokens)[0][0, length - 1].argmax()
        if tokens[0, length] == end:
            return tokens[0, : length + 1].tolist()
    return tokens[0].tolist()


@pytest.mark.parametrize("tie_embeddings", [True, False])
@pytest.mark.parametrize("qk_norm", [True, False])
def test_the_logits_are_ours(qk_norm, tie_embeddings, transformers, tokenizer, tmp_path):
    """Swapped parts of a fused matrix, a norm in another's place or a setting at its default all shift the logits."""
    loaded = exported(tmp_path / "out", tokenizer, qk_norm=qk_norm, tie_embeddings=tie_embeddings)
    theirs, info = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "out", dtype=torch.float32, output_loading_info=True
    )
    assert type(theirs).__name__ == ("Qwen3ForCausalLM" if qk_norm else "LlamaForCausalLM")
    assert not any(info.values()), info  # a missing weight would be drawn at random
    assert theirs.config.tie_word_embeddings == tie_embeddings
    length = 3 * WINDOW if qk_norm else WINDOW
    tokens = torch.randint(tokenizer.vocab_size, (2, length), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours = loaded.model(tokens)[0]
        assert ours.std() > 1
        torch.testing.assert_close(theirs(tokens).logits, ours, atol=1e-4, rtol=0)


def test_a_llama_layout_says_where_the_logits_part(transformers, tokenizer, tmp_path):
    """Without a sliding window it looks back further than the model ever did; whoever loads it must be told."""
    loaded = exported(tmp_path / "out", tokenizer, qk_norm=False)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokens = torch.randint(tokenizer.vocab_size, (1, WINDOW + 8), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        difference = (theirs(tokens).logits - loaded.model(tokens)[0]).abs().amax(dim=(0, 2))
    assert difference[:WINDOW].max() < 1e-4 < difference[-1]
    assert f"Keep prompt and story together within {WINDOW} tokens" in (tmp_path / "out" / "README.md").read_text()


def test_their_figure_of_a_text_is_ours(transformers, tokenizer, tales, tmp_path):
    """By a few lines that share nothing with ours but the exported folder, on stories of several windows."""
    loaded = exported(tmp_path / "out", tokenizer)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    texts, nats = [tales[0], "Short.", tales[1][:200]], 0.0
    for text in texts:
        tokens = their_tokenizer(f"<|story|>{text}<|end|>", return_tensors="pt").input_ids
        scored = 1
        while scored < tokens.shape[1]:
            stop = min(scored + WINDOW, tokens.shape[1])
            piece = tokens[:, max(0, stop - WINDOW - 1) : stop]
            labels = piece.clone()
            labels[:, : piece.shape[1] - (stop - scored)] = -100
            with torch.inference_mode():
                logits = theirs(piece[:, :-1]).logits
            nats += torch.nn.functional.cross_entropy(logits[0], labels[0, 1:], reduction="sum").item()
            scored = stop
    ours = text_likelihood(loaded.model, tokenizer, texts)
    assert ours.tokens > 2 * WINDOW
    assert ours.nats == pytest.approx(nats, rel=1e-5)
    assert ours.bits_per_byte == pytest.approx(nats / sum(len(text.encode()) for text in texts) / math.log(2))


def test_it_loads_as_float32_from_a_float16_file(transformers, tokenizer, tmp_path):
    """`from_pretrained` would take float16 from the file and run at half precision, slowly, on a CPU."""
    exported(tmp_path / "out", tokenizer)
    assert transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").dtype == torch.float32
    with safe_open(tmp_path / "out" / "model.safetensors", framework="pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118 (not a dict)


def test_greedy_decoding_goes_on_past_the_window(transformers, tokenizer, tmp_path):
    """Their cache drops what is out of the window; one token too many or too few changes the story."""
    loaded = exported(tmp_path / "out", tokenizer)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    prompts = [tokenizer.head(tokenizer.encode(title)) for title in ("The Fox", "A bear learns to bake bread")]
    expected = [greedy(loaded.model, prompt, 2 * WINDOW, tokenizer.end_id) for prompt in prompts]
    assert max(map(len, expected)) > WINDOW + len(prompts[1])
    for prompt, story in zip(prompts, expected, strict=True):
        assert theirs.generate(torch.tensor([prompt]), max_new_tokens=2 * WINDOW)[0].tolist() == story
    # As a batch, padded on the left by their tokenizer.
    theirs_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    batch = theirs_tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
    rows = theirs.generate(**batch, max_new_tokens=20).tolist()
    for prompt, story, row in zip(prompts, expected, rows, strict=True):
        assert row[-(len(prompt) + 20) :] == story[: len(prompt) + 20]


def test_generation_stops_at_our_end_token(transformers, tokenizer, tmp_path):
    """Without the right generation_config.json it runs on to `max_new_tokens`, or warns that it has no padding."""
    prompt, end = tokenizer.head(), tokenizer.end_id
    plain = exported(tmp_path / "plain", tokenizer, tie_embeddings=False)
    often = greedy(plain.model, prompt, 8, end)[-1]

    def end_in_its_place(model):
        model.head.weight[[often, end]] = model.head.weight[[end, often]]

    loaded = exported(tmp_path / "out", tokenizer, end_in_its_place, tie_embeddings=False)
    expected = greedy(loaded.model, prompt, 20, end)
    assert expected[-1] == end and len(expected) <= len(prompt) + 8
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert theirs.generate(torch.tensor([prompt]), max_new_tokens=20)[0].tolist() == expected
    assert theirs.generate(max_new_tokens=20)[0].tolist() == expected  # a story without a title begins with bos
    assert theirs.generation_config.pad_token_id == end


@pytest.mark.parametrize("kind", KINDS)
def test_ids_and_text_are_ours(kind, transformers, tokenizers_by_kind, tales, tmp_path):
    """A token added in silence, a space tidied away or a marker read as text: the model sees what it never saw."""
    ours = tokenizers_by_kind[kind]
    exported(tmp_path / "out", ours)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert len(theirs) == ours.vocab_size
    texts = [*TEXTS, *tales[:3]]
    for text in texts:
        ids = ours.encode(text)
        assert theirs(text)["input_ids"] == ids, text
        assert theirs.decode(ids) == ours.decode(ids), text
    for title, opening in zip(texts, reversed(texts), strict=True):
        if asked := ours.encode(title):
            assert theirs(f"<|prompt|>{title}<|story|>{opening}")["input_ids"] == [
                *ours.head(asked), *ours.encode(opening)
            ]  # fmt: skip
        framed = ours.framed(ours.encode(opening))
        assert theirs(f"<|story|>{opening}<|end|>")["input_ids"] == framed
        assert theirs.decode(framed, skip_special_tokens=True) == ours.decode(framed)
    assert set(theirs("a b")) == {"input_ids", "attention_mask"}  # whatever else is there, `generate` refuses


@pytest.mark.parametrize("kind", KINDS)
def test_any_ids_decode_to_our_text(kind, transformers, tokenizers_by_kind, tmp_path):
    """A model writes ids that no text encodes to: half a character, a word's end at the start, the unknown token."""
    ours = tokenizers_by_kind[kind]
    exported(tmp_path / "out", ours)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    generator = torch.Generator().manual_seed(0)
    for length in range(1, 60):
        ids = torch.randint(ours.vocab_size, (length,), generator=generator).tolist()
        assert theirs.decode(ids, skip_special_tokens=True) == ours.decode(ids)
    for token in range(ours.vocab_size):
        assert theirs.decode([token], skip_special_tokens=True) == ours.decode([token])


def test_every_character_is_normalised_as_ours_is(tokenizers_by_kind):
    """The library's Unicode tables are years older than Python's, and miss what was added since."""
    inner = tokenizers.Tokenizer.from_str(tokenizer_json(tokenizers_by_kind["char"]))
    known = set(tokenizers_by_kind["char"].characters)
    for start in range(0, 0x20000, 4096):
        text = "".join(chr(code) for code in range(start, start + 4096) if not 0xD800 <= code < 0xE000)
        expected = "".join(character for character in normalise(text)[0] if character in known)
        assert inner.normalizer.normalize_str(text) == expected


def test_a_character_vocabulary_may_hold_signs_of_regular_expressions(transformers, tmp_path):
    """Put into a pattern as they are, "]", "^", "-" and "\\" drop other characters than those that are unknown."""
    ours = CharTokenizer("^]\\[-&~ab \n#")
    exported(tmp_path / "out", ours)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    for text in ("^a-b]\\[", "abc&&x~~ #\n\\n", "".join(map(chr, range(128)))):
        assert theirs(text)["input_ids"] == ours.encode(text)


def test_truncation_in_a_tokenizer_file_is_not_exported(tokenizer):
    """Our `encode` pays no heed to it, and `transformers` would cut every prompt."""
    inner = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    inner.enable_truncation(3)
    inner.enable_padding()
    content = json.loads(tokenizer_json(SubwordTokenizer(inner.to_str())))
    assert content["truncation"] is content["padding"] is None


def test_what_fits_no_layout_is_refused(tokenizer, model_folders, tmp_path):
    """A model that is exported as something else loads, and writes nonsense."""
    with pytest.raises(StorygenError, match="architecture is 'lstm'.*only a 'transformer' with positions 'rotary'"):
        export_transformers(artifact.load(model_folders / "lstm"), tmp_path / "out")
    for positions in ("learned", "sinusoidal"):
        with pytest.raises(StorygenError, match=rf"TransformerConfig\.positions is '{positions}'.*'rotary'"):
            exported(tmp_path / "out", tokenizer, positions=positions)
    model = build_model(tiny_config("transformer"))
    weights = {**model.state_dict(), "blocks.0.attention.gate.weight": torch.zeros(1)}
    with pytest.raises(StorygenError, match=r"'blocks\.0\.attention\.gate\.weight' has no place"):
        transformers_weights(weights, model.config)
    assert not (tmp_path / "out").exists()


def test_an_unknown_format_is_told_the_known_ones(model_folders, tmp_path, capsys):
    """A typing error must not end in a traceback, nor leave the user to guess."""
    with pytest.raises(SystemExit) as exit:
        publish.main(["export", str(model_folders / "transformer"), str(tmp_path / "out"), "--format", "gguf"])
    assert exit.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "'gguf'" in line and "transformers" in line


def test_only_an_earlier_export_is_replaced(model_folders, tmp_path):
    """`--overwrite` with a slip in the path must not cost anybody another model or their files."""
    model, out = str(model_folders / "transformer"), tmp_path / "out"
    command = ["export", model, str(out), "--format", "transformers"]
    out.mkdir()
    (out / "config.json").write_text("precious")
    with pytest.raises(StorygenError, match="or --overwrite"):
        publish.main(command)
    with pytest.raises(StorygenError, match="holds no generation_config.json"):
        publish.main([*command, "--overwrite"])
    assert (out / "config.json").read_text() == "precious"
    with pytest.raises(StorygenError, match="must not hold, be or lie in the input"):
        publish.main(["export", model, model, "--format", "transformers", "--overwrite"])
    (out / "generation_config.json").write_text("{}")
    publish.main([*command, "--overwrite"])
    assert json.loads((out / "config.json").read_text())["model_type"] == "qwen3"


def test_the_code_in_the_exported_readme_runs(transformers, tokenizer, tmp_path, monkeypatch, capsys):
    """It is all that somebody who finds the folder has to go by."""
    loaded = exported(tmp_path / "out", tokenizer)
    readme = (tmp_path / "out" / "README.md").read_text()
    assert f"revision {loaded.revision}" in readme
    assert json.loads((tmp_path / "out" / "training.json").read_text()) == loaded.training
    monkeypatch.chdir(tmp_path)
    exec("\n".join(re.findall(r"^    (.*)$", readme, re.MULTILINE)), {})
    assert capsys.readouterr().out.strip()


def test_exporting_needs_no_transformers():
    """It is a large dependency, which only the tests have."""
    code = "import sys, train.publish; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_released_transformer_end_to_end(transformers, tmp_path, capsys):
    """Small models have no long words, no trained weights and no large logits."""
    out = tmp_path / "out"
    publish.main(["export", str(ROOT / "checkpoints" / "transformer"), str(out), "--format", "transformers"])
    assert capsys.readouterr().out == f"written to {out} as Qwen3ForCausalLM\n"
    writer = storygen.load(ROOT / "checkpoints" / "transformer")
    model = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    prompt, _ = writer.prompt_tokens("Once upon a time there was a little fox who", "The Fox and the Moon")
    framed = "<|prompt|>The Fox and the Moon<|story|>Once upon a time there was a little fox who"
    inputs = tokenizer(framed, return_tensors="pt")
    assert inputs["input_ids"].tolist() == [prompt]
    with torch.inference_mode():
        ours = writer.model(inputs["input_ids"])[0]
        torch.testing.assert_close(model(**inputs).logits, ours, atol=1e-4, rtol=0)
    expected = greedy(writer.model, prompt, 40, writer.tokenizer.end_id)
    story = model.generate(**inputs, max_new_tokens=40)[0].tolist()
    assert story == expected
    assert tokenizer.decode(story[len(prompt) :], skip_special_tokens=True) == writer.tokenizer.decode(
        story[len(prompt) :]
    )

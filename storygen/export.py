"""A trained Transformer in the format of the `transformers` library, so that what reads Llama and Qwen3 reads it too.

Our state dict to theirs, our config to theirs, our tokenizer to a tokenizer.json that stands on its own. Nothing is
computed and nothing of the library is imported: its files are JSON and safetensors.

What agrees, and is tested: logits to 1e-4 in float32, token ids, decoded text. With `qk_norm` (Qwen3) it does so at any
length, as that layout has a sliding window. Without (Llama) it does up to `context_length` tokens; after that our
model goes on looking back that far, while Llama's looks back to the start. Dropout, which only training knows, is lost.
"""

import json
import re
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import tokenizers
import torch
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
from torch import Tensor

from storygen.artifact import CARD, CONFIG, TIED, TOKENIZER, TRAINING, WEIGHTS, Artifact
from storygen.config import ModelConfig, TransformerConfig, write_json
from storygen.errors import StorygenError
from storygen.folders import written_aside
from storygen.models import architecture_of
from storygen.tokenizers import END, PROMPT, SPECIAL_TOKENS, STORY, CharTokenizer, Tokenizer
from storygen.tokenizers.char import TYPEWRITER, normalise
from storygen.tokenizers.subword import UNKNOWN

GENERATION, TOKENIZER_CONFIG = "generation_config.json", "tokenizer_config.json"

# Our module -> theirs. Where there are several, they lie one after the other in the rows of our matrix.
MODULES = {"embedding": ("model.embed_tokens",), "norm": ("model.norm",), "head": ("lm_head",)}
BLOCK_MODULES = {
    "attention_norm": ("input_layernorm",),
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.q_norm": ("self_attn.q_norm",),
    "attention.k_norm": ("self_attn.k_norm",),
    "attention.out": ("self_attn.o_proj",),
    "feed_forward_norm": ("post_attention_layernorm",),
    "feed_forward.gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "feed_forward.down": ("mlp.down_proj",),
}

CARD_TEXT = """\
---
language: en
library_name: transformers
pipeline_tag: text-generation
tags: [stories]
---

# {name}

The storygen model {name}, revision {revision}, as a {layout} of the `transformers` library.
No custom code is needed.

    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained("{folder}")  # the path of this folder
    tokenizer = AutoTokenizer.from_pretrained("{folder}")
    prompt = tokenizer("<|prompt|>The Fox and the Moon<|story|>Once upon a time", return_tensors="pt")
    tokens = model.generate(**prompt, max_new_tokens=200, do_sample=True, temperature=0.8, top_p=0.95)
    print(tokenizer.decode(tokens[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))

A story is `<|prompt|>` title, prompt or keywords `<|story|>` text `<|end|>`; without a title it begins with
`<|story|>`. The tokenizer adds none of these by itself. There is no white space around the title, and none at the end
of the opening: the model continues with a space of its own.

The weights are float16 on disk and load as float32.
{reach}
"""
REACH = "The model looks back {} tokens, and stories may be longer."
REACH_OF_LLAMA = "Keep prompt and story together within {} tokens: storygen looks back no further, this layout would."
FIGURES = """
`training.json` is that of the storygen model. Its figures were measured with storygen, not from this folder.
"""


def export_transformers(loaded: Artifact, folder: Path) -> str:
    """Writes a folder that AutoModelForCausalLM and AutoTokenizer load, in place of an earlier one; its layout's name.

    The weights stay float16, as an artifact's are, so the file is as small and nothing is rounded. The config says
    float32 all the same: `from_pretrained` takes its dtype from there, and half precision is slow on a CPU and not
    what the model's figures were measured in.
    """
    model, tokenizer = loaded.model, loaded.tokenizer
    config = transformers_config(model.config, tokenizer)
    weights = transformers_weights(model.state_dict(), model.config)
    settings = tokenizer_settings(tokenizer, model.config.context_length)
    [layout] = config["architectures"]
    with written_aside(folder) as work:
        (work / WEIGHTS).write_bytes(safetensors.torch.save(weights, metadata={"format": "pt"}))
        (work / TOKENIZER).write_text(tokenizer_json(tokenizer), encoding="utf-8")
        write_json(work / CONFIG, config)
        write_json(work / GENERATION, _special_ids(tokenizer))
        write_json(work / TOKENIZER_CONFIG, settings)
        if loaded.training:
            write_json(work / TRAINING, loaded.training)
        (work / CARD).write_text(_card(loaded, folder.name, layout), encoding="utf-8")
    return layout


FORMATS: dict[str, Callable[[Artifact, Path], str]] = {"transformers": export_transformers}
"""Name of a format -> what writes an artifact in it to a folder and returns the name of the layout."""


def transformers_config(config: ModelConfig, tokenizer: Tokenizer) -> dict[str, Any]:
    """Their config.json; StorygenError for a model that none of their layouts describes."""
    if not isinstance(config, TransformerConfig):
        raise StorygenError(
            f"architecture is {architecture_of(config)!r}, for which transformers has no layout; "
            "only a 'transformer' with positions 'rotary' can be exported"
        )
    if config.positions != "rotary":
        config.refuse("positions", "the layouts of transformers that fit have 'rotary'")
    layout: dict[str, Any] = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "mlp_bias": False}
    if config.qk_norm:
        layout = {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "use_sliding_window": True,
            "sliding_window": config.context_length,
            "max_window_layers": 0,
            "layer_types": ["sliding_attention"] * config.num_layers,
        }
    return {
        **layout,
        "dtype": "float32",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "attention_bias": False,
        "max_position_embeddings": config.context_length,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "rope_theta": config.rope_theta,  # where transformers 4, and much else that reads these files, looks for it
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tie_embeddings,
        **_special_ids(tokenizer),
    }


def transformers_weights(weights: dict[str, Tensor], config: TransformerConfig) -> dict[str, Tensor]:
    """Their state dict, float16 and contiguous; the output matrix is left out where it is the embedding.

    StorygenError for a tensor that has no place in it.
    """
    translated = {}
    for name, tensor in weights.items():
        if name == TIED and config.tie_embeddings:
            continue
        prefix, module, table = "", name.removesuffix(".weight"), MODULES
        if name.startswith("blocks."):
            _, layer, module = module.split(".", 2)
            prefix, table = f"model.layers.{layer}.", BLOCK_MODULES
        if module not in table:
            raise StorygenError(f"the tensor {name!r} has no place in the layouts of transformers")
        parts = table[module]
        for part, rows in zip(parts, tensor.detach().chunk(len(parts)), strict=True):
            translated[f"{prefix}{part}.weight"] = rows.to("cpu", torch.float16).contiguous()
    return translated


def _special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """Which ids begin, end and pad a story, in the words of generation_config.json.

    A story without a title begins with `<|story|>`: `generate()` without a prompt writes one. There is no token for
    padding. `<|end|>` serves, as is usual: any other would make `generate` take that token in a prompt for padding.
    """
    return {"bos_token_id": tokenizer.story_id, "eos_token_id": tokenizer.end_id, "pad_token_id": tokenizer.end_id}


def tokenizer_settings(tokenizer: Tokenizer, context_length: int) -> dict[str, Any]:
    """Their tokenizer_config.json: a plain reader of tokenizer.json that adds no tokens and tidies no spaces.

    The unknown token is not named: they would make it a special token, and find it in a text that says "<unk>".
    """
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": STORY,
        "eos_token": END,
        "pad_token": END,
        "additional_special_tokens": [PROMPT],
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],  # transformers 4 would add one that its models refuse
        "model_max_length": context_length,
        "padding_side": "left",  # a batch of openings is continued at its right end
    }


def tokenizer_json(tokenizer: Tokenizer) -> str:
    """A tokenizer.json that gives our ids and, special tokens skipped, our text.

    Unlike ours it reads special tokens that stand in a text as what they are: that is how a prompt is framed. And it
    fails on lone surrogates, which ours replaces.
    """
    if isinstance(tokenizer, CharTokenizer):
        return _char_tokenizer(tokenizer.characters).to_str(pretty=False)
    content = json.loads(tokenizer.to_json())  # not by way of the library, which changes digits of Unigram's scores
    content |= {"truncation": None, "padding": None, "post_processor": None}  # what our `encode` makes no use of
    # The trainers make the unknown token a special one; in a text that says "<unk>" our `encode` reads five characters.
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] in SPECIAL_TOKENS]
    if tokenizer.kind != "bpe":
        # The decoder of the library writes "<unk>" into a story, ours the sign that Unicode has for it.
        unknown = {"type": "Replace", "pattern": {"Regex": f"^{UNKNOWN}$"}, "content": "\ufffd"}
        content["decoder"] = {"type": "Sequence", "decoders": [unknown, content["decoder"]]}
    return json.dumps(content, ensure_ascii=False)


def _char_tokenizer(characters: list[str]) -> tokenizers.Tokenizer:
    """Our character tokenizer, `normalise` included, in terms of the library.

    Its Unicode tables are older than Python's, and a few characters turn into a typographic mark only by NFKD. Those
    the library is told one by one, so that the two agree on every character that this Python knows.
    """
    marks = [normalizers.Replace(chr(code), plain) for code, plain in TYPEWRITER.items()]
    to_ascii = normalizers.Sequence(
        [
            normalizers.Replace("\r\n", "\n"),
            *marks,
            normalizers.NFKD(),
            normalizers.Replace(Regex(r"[^\n -~]"), ""),
            normalizers.Lowercase(),
        ]
    )
    others = []
    for character in map(chr, range(128, sys.maxunicode + 1)):
        if unicodedata.decomposition(character):
            plain = normalise(character)[0]
            if to_ascii.normalize_str(character) != plain:
                others.append(normalizers.Replace(character, plain))
    only_known = normalizers.Replace(Regex(f"[^{re.escape(''.join(characters))}]"), "")
    inner = tokenizers.Tokenizer(models.WordLevel({c: index for index, c in enumerate(characters)}, unk_token=UNKNOWN))
    inner.normalizer = normalizers.Sequence([*others, to_ascii, only_known])
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    inner.decoder = decoders.Fuse()
    inner.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL_TOKENS])
    return inner


def _card(loaded: Artifact, folder: str, layout: str) -> str:
    """The README.md of the folder."""
    config = loaded.model.config
    reach = (REACH if config.qk_norm else REACH_OF_LLAMA).format(config.context_length)
    text = CARD_TEXT.format(name=loaded.name, revision=loaded.revision, folder=folder, layout=layout, reach=reach)
    return text + (FIGURES if loaded.training else "")

"""What the How-it-works tab says, top to bottom, in words for somebody who is curious and fifteen."""

INTRO = """
A language model does one thing: it reads some text and guesses what comes next. A story is that guess, made again and
again. Here you can follow one guess from your words to the next one, with the very models that write on this page.
Change anything; everything below follows.
"""

LOADING = "A moment …"

TOKENS = (
    "Text becomes tokens",
    "A model can't read letters. A tokenizer cuts your text into pieces, its tokens, and gives each its number from a "
    "fixed list, the vocabulary. A large vocabulary makes a text short; a small one has to spell.",
)
KINDS = {
    "char": ("Characters", "One token a character, all of them small letters: the simplest way, and the longest."),
    "bpe": ("Byte-level BPE", "Starts from single bytes and joins the pair that is most common, over and over."),
    "wordpiece": (
        "WordPiece",
        "Learnt by joining pairs, too; cuts each word by the longest piece that fits, from the left.",
    ),
    "unigram": (
        "Unigram",
        "Starts from very many pieces and drops those that are missed least; cuts a text the likeliest way.",
    ),
}
FOR_COMPARISON = "no model here reads with it; learnt from the built-in tales"
LOSSLESS = "Nothing is lost: the tokens give back the same text."

MEANING = (
    "Tokens become places",
    "Each number points to a row of a table that the model has learnt: the token's place in a space where tokens that "
    "are used alike lie close together. Nobody told the model what a word means; it found this in the company that "
    "words keep.",
)
NEARNESS = "nearness(a, b) = cos ∠(a, b) = a · b ⁄ (|a| |b|)"
NEARNESS_SAYS = "1: the same direction. 0: nothing in common."
MAP_SAYS = (
    "The same table, pressed flat: the two directions in which these words differ most. They show {share:.0%} of what "
    "tells them apart; the rest does not fit on a screen. Words that would cover each other are moved apart a little."
)
TYPE_A_WORD = "Type a word to see what lies near it."
NO_WORD = "This model can't represent that."
IN_PIECES = "“{word}” is several tokens here: {pieces}. These are the neighbours of the longest, {longest}."
NO_MAP = "Too few of the words for this map are tokens of this model."

ATTENTION = (
    "Tokens look at each other",
    "A place in a table is the same in every sentence. So in each layer of a Transformer each token looks back at "
    "those before it and takes over something of what it finds; several heads look for different things. A row is a "
    "token that looks, a column one that is looked at: the stronger the colour, the more.",
)
ATTENTION_FORMULA = "attention = softmax( Q Kᵀ ⁄ √d ) V"
ATTENTION_FORMULA_SAYS = (
    "Each token asks a question (Q), shows a key (K) and has something to give (V). How well question and key fit "
    "decides how much is given; softmax makes the shares of a row add up to 1."
)
ATTENTION_TITLE = "Layer {layer}, head {head}: who looks at whom"
ATTENTION_SHARES = "How “{label}”, the last token, divides its look:"
ATTENTION_CUT = "Only the last {count} tokens are shown."
STORY_MARK = "⟨story⟩ marks the beginning. A head that finds nothing to look for often rests there."
NO_ATTENTION = (
    "{name} is an LSTM: it has no attention. It reads once from left to right and carries on what it wants to "
    "remember in {numbers:,} numbers, however long the text is. After each token, gates decide what of them is "
    "forgotten, what is added and what is shown. Choose a Transformer above to see attention."
)

CHOICE = (
    "A guess, and a choice",
    "What comes out at the top is a probability for every token of the vocabulary. The strategy and its sliders "
    "decide which of them may be drawn: grey ones are cut, and the rest share what they had. Then the dice fall.",
)
CHOICE_FORMULA = "p(i) = e<sup>zᵢ ⁄ T</sup> ⁄ Σⱼ e<sup>zⱼ ⁄ T</sup>"
CHOICE_FORMULA_SAYS = (
    "z is what the model says of a token, T the temperature: below 1 the likely get likelier, above 1 the odd ones "
    "get their chance."
)
DREW = "Drawn: {label}"
DREW_END = "Drawn: ⟨end⟩. Here the model would end its story; press again for another throw."
LONG_ENOUGH = "The text is long enough for this page; make it shorter to go on."
AND_AGAIN = (
    "Press the button: one token is drawn and goes to the end of your text, everything above is computed anew, and "
    "that is all there is to writing. A story of 200 tokens is 200 such draws."
)

LEARNING = (
    "Where the numbers come from",
    "At first all the numbers in a model are drawn by chance and it guesses blindly. Then it reads, and with every "
    "text each number is nudged a little to where the guess would have been better. That is training.",
)
LEARNING_FORMULA = "loss = − ln p(the token that really came)"
LEARNING_FORMULA_SAYS = (
    "Told in bits per byte of text, models with different tokens can be compared if they were measured on the same "
    "stories: 8 bits would be blind guessing among all bytes, and lower is better."
)
VALID_TITLE = "On stories kept out of its training"
LOSS_TITLE = "On stories that it trains on"
TOKENS_READ, BITS, NATS = "million tokens read", "bits per byte", "loss, nats per token of its own"
NO_CURVE = "No training curve came with these models."

FIGURES = (
    "How good are they?",
    "Every figure below was measured by a program that comes with the project, on text that was kept out of training, "
    "and is kept in the model's own folder.",
)
MADE, MEASURED = "How they were made", "What was measured"
NO_FIGURES = "Nothing was measured of the models that are loaded."

LIMITS = (
    "What they read, and what they can't do",
    "A model knows what it has read and nothing else, and these are very small models that have read very little.",
)
NO_TEXT = "what it read was not recorded"
LIMITS_LIST = (
    "They write short, simple tales in English. They know no facts: a true sentence is luck.",
    "They follow a title loosely, forget who is who after a paragraph or two, and often lose the thread.",
    "Much of what those that come with this page read is over a hundred years old, with the attitudes of its time, "
    "and what was violent or sad in it can come up in a story. They are not for children without somebody beside "
    "them.",
    "A likely story is not a good one: the safest settings repeat themselves, the wildest fall apart.",
)

OPENING = "Once upon a time, a little fox looked at the"
EXAMPLES = {
    "A beginning": OPENING,
    "A hard one for tokenizers": "The café-owner’s dragon 🐉 said: “Brrrh!”",
    "A sure guess": "Once upon",
}
"""Buttons that fill in the text."""
WORD = "king"
LABELS = {
    "model": "Model",
    "text": "Your text, the beginning of a story",
    "word": "A word to look up",
    "layer": "Layer",
    "head": "Head",
    "strategy": "Strategy",
    "draw": "Draw the next token",
    "temperature": "Temperature T",
    "top_k": "Top-k: tokens kept",
    "top_p": "Top-p: probability kept",
    "min_p": "Min-p: share of the likeliest",
    "typical_p": "Typical: probability kept",
}
"""What the widgets are called."""

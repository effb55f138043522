"""What folders, columns and cells call classes and splits: the words that are in use, and what they mean here."""

import re
import unicodedata

# Class of `names.EIGHT_CLASSES` by word; copies of these data sets do not agree on noun or adjective.
EMOTIONS = {
    **dict.fromkeys(("angry", "anger"), 0),
    **dict.fromkeys(("disgust", "disgusted"), 1),
    **dict.fromkeys(("fear", "fearful", "afraid"), 2),
    **dict.fromkeys(("happy", "happiness"), 3),
    **dict.fromkeys(("sad", "sadness"), 4),
    **dict.fromkeys(("surprise", "surprised"), 5),
    "neutral": 6,
    **dict.fromkeys(("contempt", "contemptuous"), 7),
}
# Split by word. Nothing may be selected on what its owner calls a test set.
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "Training"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "public", "publictest"), "PublicTest"),
    **dict.fromkeys(("test", "testing", "private", "privatetest"), "PrivateTest"),
}


def class_of(word: str) -> int | None:
    """Index into `names.EIGHT_CLASSES`, or None for a word that is none of theirs."""
    return EMOTIONS.get(word.strip().casefold())


def split_of(word: str) -> str | None:
    """Training, PublicTest or PrivateTest for train, Val, test_set, Private Test, 01-training, ...; otherwise None."""
    letters = re.sub(r"[\W\d_]", "", word.casefold())
    around = "data|sets?|images?|faces?|splits?|s"
    return SPLIT_WORDS.get(letters) or SPLIT_WORDS.get(re.sub(f"^(?:data|images?|faces?)|(?:{around})$", "", letters))


def plain(word: str) -> str:
    """A name in one spelling: without blanks around it, an accent part of its letter (archives of Macs part them)."""
    return unicodedata.normalize("NFC", word).strip()

"""Names that several packages share: data sets, classes, splits, test views. Nothing is imported here, so all may."""

FER2013_CLASSES = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
CKPLUS_CLASSES = (*FER2013_CLASSES[:6], "Contempt")  # 6 is Neutral in FER2013

EIGHT_CLASSES = (*FER2013_CLASSES, "Contempt")  # of FER+ and of ckextended.csv

# Data sets that preprocess_fer2013.py can make, and the names of the classes that their labels index
CLASS_NAMES = {
    "fer2013": FER2013_CLASSES,
    "ferplus": EIGHT_CLASSES,
    "ckplus": CKPLUS_CLASSES,
    "ckextended": EIGHT_CLASSES,
    "synthetic": FER2013_CLASSES,
    "synthetic-ckplus": CKPLUS_CLASSES,
}
DATASETS = tuple(CLASS_NAMES)
OTHER_LABELS = {"ferplus": "fer2013", "ckextended": "ckplus"}  # sets whose faces are those of another one


def same_faces(dataset: str | None, other: str | None) -> bool:
    """Whether two data sets are of the same faces, whatever the labels."""
    return OTHER_LABELS.get(dataset, dataset) == OTHER_LABELS.get(other, other)


# Columns of predictions.csv beside one for each class, so no class is called like one of them
FACE_COLUMNS = ("index", "label", "prediction")
GROUP_COLUMNS = ("subject", "sequence", "fold")  # where they exist

SPLITS = ("Training", "PublicTest", "PrivateTest")  # of FER2013; CK+ has one, called data
LAST_EPOCH = "last epoch"  # in place of a split's name where no split selects the epoch

# Crops of a face whose logits are averaged (datasets/views.py), and what a report calls them
VIEWS = {
    "center": "center crop",
    "flip": "center crop and mirror image",
    "five": "five-crop",
    "ten": "ten-crop",
    "scales": "three scales and mirror images",
}

# The others are drawn
USUAL_SOURCES = {
    "fer2013": "data/fer2013.csv",
    "ferplus": "data/fer2013.csv",
    "ckplus": "data/CK+48",
    "ckextended": "data/ckextended.csv",
}
USUAL_VOTES = "data/fer2013new.csv"  # of FER+, for the faces of fer2013.csv
FOLDS = 10  # of CK+, and of whatever else where no number is given

# Faces of each class, in every split
OFFICIAL_COUNTS = {
    "fer2013": {
        "Training": (3995, 436, 4097, 7215, 4830, 3171, 4965),
        "PublicTest": (467, 56, 496, 895, 653, 415, 607),
        "PrivateTest": (491, 55, 528, 879, 594, 416, 626),
    },
    "ckplus": {"data": (135, 177, 75, 207, 84, 249, 54)},
}

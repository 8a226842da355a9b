"""Colours and shapes that pages and drawings share."""

COLOURS = {  # name -> on white, on dark; every value once: it stands for the name in the SVG
    "ink": ("#1b1f24", "#e6e9ec"),
    "faint": ("#5c6670", "#a3adb8"),
    "grid": ("#dfe3e8", "#39414a"),
    "paper": ("#ffffff", "#14181c"),
    "blue": ("#0069a8", "#62b0e8"),
    "red": ("#c8500a", "#f58a4b"),
    "green": ("#00805c", "#35c79c"),
    "purple": ("#a8437f", "#e29ac6"),
    "orange": ("#a86e00", "#ecae30"),
    "sky": ("#2583b8", "#8fd0f5"),
    "brown": ("#7d5a3c", "#c9a07a"),
    "grey": ("#6d6d75", "#b5b5bd"),
}
SERIES = ("blue", "orange", "green", "purple", "sky", "brown", "red", "grey")
SHAPES = {  # marker of matplotlib -> the same as an SVG path in a box of -6 … 6
    "o": "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0-4 0Z",
    "s": "M-3.5-3.5H3.5V3.5H-3.5Z",
    "^": "M0-4.5L4.5 4H-4.5Z",
    "D": "M0-5L5 0L0 5L-5 0Z",
    "v": "M0 4.5L4.5-4H-4.5Z",
    "P": "M-1.5-5H1.5V-1.5H5V1.5H1.5V5H-1.5V1.5H-5V-1.5H-1.5Z",
    "X": "M-5-3L-3-5L0-2L3-5L5-3L2 0L5 3L3 5L0 2L-3 5L-5 3L-2 0Z",
    "*": "M0-5.5L1.4-1.8L5.3-1.7L2.2.7L3.3 4.5L0 2.3L-3.3 4.5L-2.2.7L-5.3-1.7L-1.4-1.8Z",
    "-": "M-6-1H6V1H-6Z",
    "--": "M-6-1H-1V1H-6ZM1-1H6V1H1Z",
}

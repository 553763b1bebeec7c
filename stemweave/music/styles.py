"""Musical styles that a sheet may name, and the groove files of Debian's ``mma`` that play each."""

from __future__ import annotations

from functools import lru_cache

from stemweave.errors import InputError

STYLES: dict[str, tuple[str, ...]] = {
    "8-beat-pop": (
        "8beat", "8beat1", "8beat2", "8beat3", "8beatpop1", "8beatpop2", "8beatpop3", "beat8",
        "pop", "60spop", "popballad", "worldpop",
    ),
    "16-beat-pop": (
        "16beat1", "16beat2", "16beat3", "16shuffle1", "16shuffle2", "slow16beat", "beat16",
    ),
    "ballad": (
        "ballad", "bald", "bald34", "8beatballad1", "8beatballad2", "8beatballad3",
        "16beatballad1", "16beatballad2", "16beatballad3", "pianoballad", "guitarballad",
        "stringballad", "folkballad", "serenade", "oldieballad",
    ),
    "slow-rock": (
        "slowrock", "ballad68", "ballad128", "68ballad", "rock-128", "rockballad",
    ),
    "rock": (
        "rock", "rock1", "rock2", "rock34", "basicrock", "poprock1", "poprock2", "softrock",
        "w-rock", "highfive", "strut",
    ),
    "hard-rock": ("heavymetal", "metal1", "metal2", "mtl", "hrk", "thr", "punk"),
    "rock-and-roll": (
        "50srock", "60srock", "K50s_rock", "twist", "twi", "fasttwist", "jive", "bubblerock",
        "boggiewoggie", "shuffleboogie", "shuffleboggie",
    ),
    "shuffle": ("shuffle", "shufflerock", "popshuffle1", "popshuffle2", "happyshuffle"),
    "blues": (
        "blues", "blues34", "blues68", "blues128", "slowblues", "fastblues", "countryblues",
    ),
    "rhythm-and-blues": ("r+b", "rb", "rb-ballad", "mellowrb", "modernrb", "rnb"),
    "soul": ("60ssoul", "soul", "soulpop", "dsoul", "8beatmotown"),
    "gospel": ("spiritual", "slowspiritual", "popspiritual", "hymn"),
    "funk": ("funk", "funk1", "funk2", "Kfunk1", "bvfunk"),
    "disco": ("discosoul", "boneym", "8beatdance"),
    "dance": (
        "dance", "dance1", "dance2", "dancepop1", "dancepop2", "dancepop3", "house",
        "80spop", "electricpop", "digitalrock",
    ),
    "techno": ("techno", "teamtechno", "trance", "trance1", "trance2", "rave", "dnb"),
    "hip-hop": ("hiphop", "hip-hop", "trip", "triphop"),
    "ambient": ("ambient", "ambient1", "ambient2", "ambient3"),
    "fusion": ("fusion", "fus16", "lfusion", "jazzrock"),
    "jazz": (
        "jazz", "jazz04", "jazzcombo", "jazzguitar", "jazztrio", "jazzGrtrio", "modernjazz",
        "mellowjazz", "nitejazz", "slowjazz", "evansish", "descendingjazz", "folkyjazz", "bebop",
        "jazz-54", "gypsyjazz",
    ),
    "swing": (
        "swing", "68swing", "fastswing", "slowswing", "easyswing", "jazzswing", "jazzbouncy",
    ),
    "big-band": ("bigband", "fastbigband", "middlebigband", "slowbigband", "jazzbasie"),
    "jazz-waltz": ("jazzwaltz", "fastjazzwaltz", "modernjazzwaltz"),
    "waltz": (
        "waltz", "fastwaltz", "frenchwaltz", "vienesewaltz", "popwaltz", "rockwaltz",
        "broadwaywaltz", "countrywaltz", "latinwaltz",
    ),
    "ragtime": ("ragtime", "dixie", "dixiemarch", "charleston"),
    "show-tune": ("showtune", "broadway", "slowbroadway", "softshoe"),
    "foxtrot": ("foxtrot", "quickstep"),
    "bossa-nova": ("bossanova", "bossa", "kbossa", "jazzbossa", "quando-g.s280"),
    "samba": ("samba",),
    "salsa": ("salsa", "salsa1", "salsa2", "mambo", "son", "merengue"),
    "rumba": (
        "rhumba", "jazzrhumba", "chacha", "beguine", "cubanguitar", "bolero", "slowbolero",
    ),
    "latin": ("latin", "latinfusion", "latinhouse", "calypso"),
    "tango": ("tango", "lighttango"),
    "african": ("afro", "afro-cuban", "desert", "mide"),
    "reggae": ("reggae", "ska"),
    "country": (
        "country", "cntry", "slowcountry", "countryswing", "jazzcountry", "western",
        "westernswing", "kwestballad",
    ),
    "folk": ("folk", "folkrock", "bluefolk", "bluegrass", "hillcountry", "zydeco"),
    "march": ("march", "march1", "68march", "germanmarch", "bwmarch"),
    "polka": ("polka", "polkafox", "poppolka", "2beatp"),
    "lullaby": ("lullaby", "arpeggio44", "arpeggio68", "arpeggiowaltz"),
}  # fmt: skip
"""By style, in the order of a model's numbers: names of groove files, whatever their folder."""


@lru_cache(maxsize=1000)
def style_of_groove(library_file: str) -> str | None:
    """Style of a groove file such as "stdlib/bossanova"; None for a metronome and the like."""
    name = library_file.rsplit("/", 1)[-1]
    return next((style for style, names in STYLES.items() if name in names), None)


def parse_style(text: str) -> str:
    """The style that ``text`` names, with hyphens or blanks; ``InputError`` if there is none."""
    style = text.strip().lower().replace(" ", "-").replace("_", "-")
    if style not in STYLES:
        raise InputError(f"{text} is not a style: choose of {', '.join(STYLES)}")
    return style

"""Readers of what a DAW gets: chunks of WAV, Reaper's chunks, elements of DAWproject."""

import re
import shlex
import struct
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element


def wav_chunks(data: bytes) -> dict[str, bytes]:
    """By name, of RIFF; those before ``data`` come first."""
    assert data[:4] == b"RIFF" and data[8:12] == b"WAVE"
    assert struct.unpack("<I", data[4:8])[0] == len(data) - 8
    chunks, at = {}, 12
    while at < len(data):
        name, size = struct.unpack("<4sI", data[at : at + 8])
        chunks[name.decode()] = data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return chunks


@dataclass
class Chunk:
    """``<NAME words ... >``: settings are lists of words, in their order."""

    words: list[str]
    settings: list[list[str]] = field(default_factory=list)
    chunks: list["Chunk"] = field(default_factory=list)

    def all(self, name: str) -> list["Chunk"]:
        return [one for one in self.chunks if one.words[0] == name]

    def set(self, name: str) -> list[list[str]]:
        return [words[1:] for words in self.settings if words[0] == name]


def reaper_chunks(text: str) -> Chunk:
    """The one chunk of a file: every line opens a chunk, closes one or sets something."""
    root = Chunk(["file"])
    open_chunks = [root]
    for line in text.splitlines():
        if line.strip() == ">":
            open_chunks.pop()
            continue
        words = shlex.split(line.strip().removeprefix("<"))
        assert words and re.fullmatch("[A-Z][A-Z_0-9]*", words[0]), line
        if line.strip().startswith("<"):
            chunk = Chunk(words)
            open_chunks[-1].chunks.append(chunk)
            open_chunks.append(chunk)
        else:
            open_chunks[-1].settings.append(words)
    assert open_chunks == [root]
    (project,) = root.chunks
    assert project.words[0] == "REAPER_PROJECT"
    return project


NAMED = {"id", "name", "color", "comment"}
TIMELINE = NAMED | {"timeUnit", "track"}
ELEMENTS: dict[str, tuple[list[str], set[str], set[str]]] = {
    "Project": (["Application", "Transport", "Structure", "Arrangement"], {"version"}, set()),
    "Application": ([], {"name", "version"}, set()),
    "Transport": (["Tempo", "TimeSignature"], set(), set()),
    "Tempo": ([], {"unit"}, NAMED | {"value", "min", "max"}),
    "TimeSignature": ([], {"numerator", "denominator"}, NAMED),
    "Structure": (["Track"], set(), set()),
    "Track": (["Channel"], set(), NAMED | {"contentType", "loaded"}),
    "Channel": (["Volume"], set(), NAMED | {"audioChannels", "destination", "role", "solo"}),
    "Volume": ([], {"unit"}, NAMED | {"value", "min", "max"}),
    "Arrangement": (
        ["Lanes", "Markers", "TempoAutomation", "TimeSignatureAutomation"],
        set(),
        NAMED,
    ),
    "Lanes": (["Lanes", "Clips"], set(), TIMELINE),
    "Clips": (["Clip"], set(), TIMELINE),
    "Clip": (["Audio", "Notes"], {"time"}, NAMED | {"duration", "contentTimeUnit", "playStart"}),
    "Audio": (["File"], {"channels", "sampleRate", "duration"}, TIMELINE | {"algorithm"}),
    "File": ([], {"path"}, {"external"}),
    "Notes": (["Note"], set(), TIMELINE),
    "Note": ([], {"time", "duration", "channel", "key"}, {"vel", "rel"}),
    "Markers": (["Marker"], set(), TIMELINE),
    "Marker": ([], {"time"}, NAMED),
    "TempoAutomation": (["Target", "RealPoint"], set(), TIMELINE | {"unit"}),
    "TimeSignatureAutomation": (["Target", "TimeSignaturePoint"], set(), TIMELINE | {"unit"}),
    "Target": ([], set(), {"parameter"}),
    "RealPoint": ([], {"time", "value"}, {"interpolation"}),
    "TimeSignaturePoint": ([], {"time", "numerator", "denominator"}, set()),
    "MetaData": (["Title", "Genre"], set(), set()),
    "Title": ([], set(), set()),
    "Genre": ([], set(), set()),
}
"""Of the public schema: children in their order, attributes that must be there, that may be."""
REFERENCES = {"track", "destination", "parameter"}


def check_schema(root: Element) -> None:
    """Every element stands where the schema has it, with its attributes; references lead to ids."""
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(set(ids)) == len(ids)
    for element in root.iter():
        children, needed, allowed = ELEMENTS[element.tag]
        places = [children.index(child.tag) for child in element]
        assert places == sorted(places), element.tag
        assert needed <= set(element.attrib) <= needed | allowed, element.attrib
        assert {element.get(name) for name in REFERENCES} - {None} <= set(ids)

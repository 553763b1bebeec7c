"""DAWproject 1.0, the open exchange format: a zip of project.xml, metadata.xml and the sound.

As the public schema of github.com/bitwig/dawproject says. Beats there are quarter notes.
"""

from __future__ import annotations

import zipfile
from importlib.metadata import version
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from stemweave.music.midi_file import MidiTrack
from stemweave.music.session import Session

TEMPO, METRE, MASTER = "tempo", "metre", "master"
"""Ids that others refer to."""


def write_dawproject(path: Path, session: Session) -> None:
    """Write ``session`` with its sounds, which must be there."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("project.xml", _as_text(_project(session)))
        archive.writestr("metadata.xml", _as_text(_metadata(session)))
        for stem, file in session.sounds.items():
            archive.write(file, _sound_path(session, stem), zipfile.ZIP_STORED)


def _as_text(root: Element) -> bytes:
    indent(root)
    return tostring(root, encoding="UTF-8", xml_declaration=True)


def _sound_path(session: Session, stem: str) -> str:
    return f"audio/{session.sounds[stem].name}"


def _metadata(session: Session) -> Element:
    root = Element("MetaData")
    _add(root, "Title").text = session.title
    if session.style is not None:
        _add(root, "Genre").text = session.style
    return root


def _project(session: Session) -> Element:
    root = Element("Project", version="1.0")
    _add(root, "Application", name="Stemweave", version=version("stemweave"))
    first = session.tempo_map()[0]
    transport = _add(root, "Transport")
    _add(transport, "Tempo", id=TEMPO, unit="bpm", value=first.tempo_bpm)
    above, below = first.metre or (4, 4)
    _add(transport, "TimeSignature", id=METRE, numerator=above, denominator=below)
    structure = _add(root, "Structure")
    arrangement = _add(root, "Arrangement", id="arrangement")
    lanes = _add(arrangement, "Lanes", id="lanes", timeUnit="beats")
    for number, stem in enumerate(session.sounds):
        _add_track(structure, f"sound{number}", stem, "audio", session.infos[stem].channels)
        _add_sound(_add_clips(lanes, f"sound{number}"), session, stem)
    for number, track in enumerate(session.note_tracks):
        _add_track(structure, f"notes{number}", f"{track.name} notes", "notes", 2)
        _add_notes(_add_clips(lanes, f"notes{number}"), session, track)
    master = _add(structure, "Track", id="master-track", name="Master", contentType="audio")
    _add(master, "Channel", id=MASTER, role="master", audioChannels=2)
    _add_markers(arrangement, session)
    _add_tempo_map(arrangement, session)
    return root


def _add(parent: Element, tag: str, **attributes: str | float) -> Element:
    written = {
        name: value if isinstance(value, str) else f"{value:.9f}".rstrip("0").rstrip(".")
        for name, value in attributes.items()
    }
    return SubElement(parent, tag, written)


def _add_track(structure: Element, id: str, name: str, content: str, channels: int) -> None:
    track = _add(structure, "Track", id=id, name=name, contentType=content, loaded="true")
    own = {"id": f"{id}-channel", "role": "regular", "destination": MASTER}
    channel = _add(track, "Channel", audioChannels=channels, **own)
    _add(channel, "Volume", id=f"{id}-volume", unit="linear", value=1, min=0, max=2)


def _add_clips(lanes: Element, track: str) -> Element:
    lane = _add(lanes, "Lanes", id=f"{track}-lane", track=track)
    return _add(lane, "Clips", id=f"{track}-clips")


def _add_sound(clips: Element, session: Session, stem: str) -> None:
    """A clip that plays at its own speed, whatever the tempo."""
    info = session.infos[stem]
    start = session.quarter(session.start_s)
    length = session.quarter(session.start_s + info.duration_s) - start
    place = {"time": start, "duration": length, "playStart": 0}
    clip = _add(clips, "Clip", name=stem, contentTimeUnit="seconds", **place)
    held = {"channels": info.channels, "sampleRate": info.sample_rate, "duration": info.duration_s}
    _add(_add(clip, "Audio", algorithm="raw", **held), "File", path=_sound_path(session, stem))


def _add_notes(clips: Element, session: Session, track: MidiTrack) -> None:
    quarter = session.midi.ticks_per_quarter
    end = max(session.midi.last_tick, max(note.end for note in track.notes))
    clip = _add(clips, "Clip", name=track.name, time=0, duration=end / quarter, playStart=0)
    notes = _add(clip, "Notes")
    for note in track.notes:
        start, length = note.start / quarter, (note.end - note.start) / quarter
        key = {"channel": track.channel, "key": note.pitch, "vel": note.velocity / 127}
        _add(notes, "Note", time=start, duration=length, **key)


def _add_markers(arrangement: Element, session: Session) -> None:
    """Sections and chords, a section before the chord that it begins with."""
    named = [(tick, f"Section {name}") for tick, name in session.midi.cues]
    named = sorted([*named, *session.midi.markers], key=lambda marker: marker[0])
    if not named:  # the schema has no list of none
        return
    markers = _add(arrangement, "Markers", id="markers", timeUnit="beats")
    for tick, name in named:
        _add(markers, "Marker", name=name, time=tick / session.midi.ticks_per_quarter)


def _add_tempo_map(arrangement: Element, session: Session) -> None:
    tempi = _add(arrangement, "TempoAutomation", id="tempi", unit="bpm", timeUnit="beats")
    _add(tempi, "Target", parameter=TEMPO)
    metres = _add(arrangement, "TimeSignatureAutomation", id="metres", timeUnit="beats")
    _add(metres, "Target", parameter=METRE)
    for point in session.tempo_map():
        time = point.tick / session.midi.ticks_per_quarter
        _add(tempi, "RealPoint", time=time, value=point.tempo_bpm, interpolation="hold")
        if point.metre is not None:
            above, below = point.metre
            _add(metres, "TimeSignaturePoint", time=time, numerator=above, denominator=below)

import numpy as np
import pytest
import torch

from stemweave.models.score_transformer import HEADER, Cache, ScoreTransformer, Segments, Tokens
from stemweave.music.events import CHORD_ROWS, CHORD_SLOTS
from stemweave.music.sequences import BarWindow, segment_fields, segment_order, sequence_of

STEMS = ("drums", "bass")


@pytest.fixture
def network() -> ScoreTransformer:
    torch.manual_seed(0)
    made = ScoreTransformer(
        STEMS, ("rock",), ("bass/pick",), channels=32, num_layers=2, head_channels=16, max_bars=4
    )
    return made.eval()


def window(seed: int = 0, num_bars: int = 3) -> BarWindow:
    rng = np.random.default_rng(seed)

    def segment() -> np.ndarray:
        steps = np.sort(rng.choice(48, 3, replace=False))
        rows = np.stack([steps, rng.integers(30, 60, 3), rng.integers(0, 9, 3), [8, 9, 10]], 1)
        return rows.astype(np.uint8)

    return BarWindow(
        {stem: [segment() for _ in range(num_bars)] for stem in STEMS},
        np.full(num_bars, 4),
        np.zeros((num_bars, CHORD_SLOTS, CHORD_ROWS), dtype=np.uint8),
        {"bass": 1},
        1,
        float(np.log(120)),
    )


def inputs(one: BarWindow) -> tuple[Tokens, Segments]:
    given = {stem: np.zeros(one.num_bars, dtype=bool) for stem in STEMS}
    given["bass"][:] = True
    order = segment_order(given, STEMS, one.num_bars)
    events = torch.from_numpy(sequence_of(one, order, STEMS, HEADER))[None]
    fields = segment_fields(one, order, STEMS)
    segments = Segments(*(torch.from_numpy(np.asarray(field))[None] for field in fields.values()))
    return Tokens(*events.unbind(dim=-1)), segments


def test_states_depend_on_earlier_events_only(network):
    tokens, segments = inputs(window())
    other = tokens.map(torch.clone)
    other.pitch[:, 10:] = 77
    own = network.segment_states(segments)
    a, b = network.states(tokens, own), network.states(other, own)
    assert torch.equal(a[:, :10], b[:, :10])
    assert not torch.allclose(a[:, 10:], b[:, 10:])


def test_states_with_a_cache_equal_those_of_the_whole_sequence(network):
    tokens, segments = inputs(window())
    own = network.segment_states(segments)
    whole = network.states(tokens, own)
    cache = Cache(network, whole.shape[1])
    pieces = []
    for start, stop in ((0, 5), (5, 6), (6, 11), (11, whole.shape[1])):
        part = tokens.map(lambda field, part=slice(start, stop): field[:, part])
        pieces.append(network.states(part, own, cache))
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=0, atol=1e-5)


def test_losses_of_an_untrained_network_are_near_those_of_equal_chances(network):
    tokens, segments = inputs(window())
    losses = network(tokens, segments)
    assert losses["step"].mean().item() == pytest.approx(np.log(97), abs=0.4)
    notes = tokens.step[:, 1:] != HEADER
    assert losses["pitch"][notes].mean().item() == pytest.approx(np.log(256), abs=0.4)
    assert (losses["pitch"][~notes] == 0).all()


def test_an_unknown_tempo_is_not_a_tempo_in_the_middle(network):
    tokens, segments = inputs(window())
    known = network(tokens, segments)["step"]
    segments.log_tempo = torch.full_like(segments.log_tempo, float("nan"))
    unknown = network(tokens, segments)["step"]
    assert unknown.isfinite().all()
    assert not torch.allclose(known, unknown)

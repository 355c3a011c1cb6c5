"""Disagreements are traced to the layer and the values whose signs differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bopkit.export.checks.bits import MatchedConvolution, flatbuffer_bits
from bopkit.export.checks.scores import agreement_failures, compare_output
from bopkit.export.checks.tracing import trace_disagreements
from bopkit.export.network.layers import inspect_layers
from bopkit.export.network.signature import SignatureTensor
from bopkit.export.pictures import Pictures, random_inputs
from bopkit.export.reference import BATCH_SIZE, predict_keras
from bopkit.export.report import Disagreement
from bopkit.keras2 import import_tensorflow

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("near", [True, False], ids=["near-tie", "no near-tie"])
def test_a_changed_sign_is_traced_to_its_layer_and_magnitude(near: bool, network: Any, flatbuffer: bytes) -> None:
    tf = import_tensorflow()
    facts = inspect_layers(network)
    matches, failures = flatbuffer_bits(flatbuffer, facts)
    assert not failures

    # In a copy of the network, one activation before the layer `ones` gets the other sign.
    pictures = random_inputs([SignatureTensor("images", (12, 12, 3))], None, 16)
    before = tf.keras.Model(network.input, network.get_layer("ones").input)(pictures.images).numpy()
    magnitude = 2e-5 if near else 1e-1  # the former is above rounding and below `spec.NEAR_TIE`
    position = np.argmin(np.abs(np.abs(before) - magnitude))
    picture, *_, channel = np.unravel_index(position, before.shape)
    moved = float(before.flat[position])
    copy = tf.keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    beta = copy.get_layer("ones").inbound_nodes[0].inbound_layers.beta
    beta.assign_sub(2 * moved * np.eye(beta.shape[0])[channel])

    expected = np.eye(10, dtype=np.float32)[[0] * 16]
    scores = expected.copy()
    scores[picture] = scores[picture, ::-1]
    agreement = compare_output(pictures, expected, scores)
    assert agreement.disagreements == (Disagreement(int(picture), 0, 9, score_margin=1.0),)

    answers = predict_keras(copy, pictures.inputs, BATCH_SIZE)
    traced = trace_disagreements(agreement, pictures.inputs, answers, copy, flatbuffer, _of(copy, matches))
    (disagreement,) = traced.disagreements
    scale = np.sqrt(np.mean(np.square(before[picture])))
    assert disagreement.traced
    assert disagreement.first_layer == "ones"
    assert disagreement.signs == before[picture].size
    assert disagreement.signs_changed >= 1
    assert disagreement.near_tie is near
    assert disagreement.largest_relative_magnitude >= abs(moved) / scale * 0.9
    if near:
        assert disagreement.signs_changed == 1
        assert disagreement.largest_relative_magnitude == pytest.approx(abs(moved) / scale, rel=0.1)


def test_scores_that_no_sign_explains_are_near_ties_only_within_the_tolerance(network: Any, flatbuffer: bytes) -> None:
    facts = inspect_layers(network)
    matches, _ = flatbuffer_bits(flatbuffer, facts)
    pictures = random_inputs([SignatureTensor("images", (12, 12, 3))], None, 3)
    expected = np.full((3, 10), 0.1, np.float32)
    scores = expected.copy()
    expected[:, 0] += (1e-6, 1e-6, 1e-2)  # Keras' lead, then the artifact's: both small, one large, one large
    scores[:, 9] += (1e-6, 1e-2, 1e-6)
    agreement = compare_output(pictures, expected, scores)
    assert [(each.traced, each.near_tie) for each in agreement.disagreements] == [
        (False, True),
        (False, None),
        (False, None),
    ]
    answers = predict_keras(network, pictures.inputs, BATCH_SIZE)
    traced = trace_disagreements(agreement, pictures.inputs, answers, network, flatbuffer, matches)
    assert [(each.traced, each.near_tie) for each in traced.disagreements] == [
        (True, True),
        (True, False),
        (True, False),
    ]
    assert [each.score_margin for each in traced.disagreements] == pytest.approx([1e-6, 1e-2, 1e-2], rel=0.1)


def test_a_picture_that_keras_answers_otherwise_than_before_is_not_traced(network: Any, flatbuffer: bytes) -> None:
    """Keras run in another way differs by an ulp: what it then has on the way into a layer proves nothing."""
    matches, _ = flatbuffer_bits(flatbuffer, inspect_layers(network))
    pictures = random_inputs([SignatureTensor("images", (12, 12, 3))], None, 2)
    (answers,) = predict_keras(network, pictures.inputs, BATCH_SIZE)
    answers[1] = np.nextafter(answers[1], np.float32(2))
    agreement = compare_output(pictures, answers, answers[:, ::-1])
    traced = trace_disagreements(agreement, pictures.inputs, [answers], network, flatbuffer, matches)
    assert [(each.traced, each.near_tie) for each in traced.disagreements] == [(True, False), (False, None)]


def _of(copy: Any, matches: list[MatchedConvolution]) -> list[MatchedConvolution]:
    """The matches with the layers of a copied network."""
    layers = {facts.name: facts for facts in inspect_layers(copy)}
    return [MatchedConvolution(layers[match.facts.name], match.convolution) for match in matches]


@pytest.mark.parametrize(
    ("near", "other", "trained_fails", "unknown_fails"), [(0, 1, 0, 0), (3, 1, 1, 0), (3, 2, 1, 1)]
)
def test_near_ties_count_only_where_the_network_is_known_to_be_trained(
    near: int, other: int, trained_fails: bool, unknown_fails: bool
) -> None:
    expected = np.tile(np.array([0.6, 0.4, 0.0], np.float32), (200, 1))
    scores = expected.copy()
    scores[: near + other] = [0.4, 0.6, 0.0]
    expected[:near] = [0.5 + 1e-6, 0.5, 0.0]
    scores[:near] = [0.5, 0.5 + 1e-6, 0.0]
    agreement = compare_output(Pictures("photographs", True, (np.zeros((200, 1)),)), expected, scores)
    assert [bool(agreement_failures(agreement, trained)) for trained in (True, None, False)] == [
        trained_fails,
        unknown_fails,
        False,
    ]

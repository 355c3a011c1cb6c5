"""Each kind of layer that a larq user may write: it converts, agrees with Keras, and what stays float says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bopkit.export import ExportOptions, export_model
from bopkit.keras2 import import_tensorflow

SIZE = (8, 8, 64)
LATENT = {"kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip"}
SIGNS = {**LATENT, "input_quantizer": "ste_sign"}
ONLY_2D = "only 2-D convolutions and dense layers are packed"


def _kinds() -> dict[str, tuple[Callable[[Any, Any, Any], Any], str]]:
    """By kind: what makes it from larq's layers and quantizers and Keras' layers, and why it stays float."""

    def conv(reason: str, *shape: int, **settings: Any) -> tuple[Callable[[Any, Any, Any], Any], str]:
        settings = {**SIGNS, "name": "it", **settings}
        return lambda layers, signs, keras: layers.QuantConv2D(*(shape or (32, 3)), **settings), reason

    def quantized(make: Callable[[Any], Any], reason: str) -> tuple[Callable[[Any, Any, Any], Any], str]:
        return (
            lambda layers, signs, keras: layers.QuantConv2D(
                32, 3, name="it", input_quantizer="ste_sign", kernel_quantizer=make(signs)
            ),
            reason,
        )

    def entering(make: Callable[[Any], Any], reason: str) -> tuple[Callable[[Any, Any, Any], Any], str]:
        return (
            lambda layers, signs, keras: layers.QuantConv2D(32, 3, name="it", input_quantizer=make(signs), **LATENT),
            reason,
        )

    def on(shape: tuple[int, ...], kind: str, *arguments: Any, reason: str, **settings: Any) -> Any:
        def build(layers: Any, signs: Any, keras: Any) -> Any:
            layer = getattr(layers, kind)(*arguments, name="it", input_quantizer="ste_sign", **settings)
            return lambda x: layer(keras.Reshape(shape)(x))

        return build, reason

    separable = {
        f"{part}_{key}": value
        for part in ("depthwise", "pointwise")
        for key, value in (("quantizer", "ste_sign"), ("constraint", "weight_clip"))
    }
    depthwise = {"depthwise_quantizer": "ste_sign", "depthwise_constraint": "weight_clip"}
    return {
        "stride": conv("", strides=2),
        "uneven strides": conv("", strides=(2, 1), padding="same"),
        "dilation": conv("", dilation_rate=2),
        "dilation, padded": conv("", dilation_rate=2, padding="same", pad_values=1.0),
        "groups": conv("", groups=2),
        "groups of 16": conv("LCE packs groups of a multiple of 32 channels only", groups=4),
        "zero padding": conv("", padding="same"),
        "one padding": conv("", padding="same", pad_values=1.0),
        "other padding": conv("LCE pads with 0 or 1 only", padding="same", pad_values=-1.0),
        "even kernel": conv("", 32, (2, 4), padding="same"),
        "odd channel count": conv("", 37, 3),
        "bias and activation": conv("", use_bias=True, activation="relu"),
        "SteSign with clip": quantized(lambda signs: signs.SteSign(clip_value=1.25), ""),
        "SteSign without clip": quantized(lambda signs: signs.SteSign(clip_value=None), ""),
        "ApproxSign": quantized(lambda signs: signs.ApproxSign(), ""),
        "SwishSign": quantized(lambda signs: signs.SwishSign(beta=3.0), ""),
        "MagnitudeAwareSign (XNOR-Net)": quantized(lambda signs: signs.MagnitudeAwareSign(), ""),
        "NoOp (Bop)": quantized(lambda signs: signs.NoOp(precision=1), ""),
        "Heaviside": quantized(lambda signs: signs.SteHeaviside(), "kernel is not binary: 0 or 1, SteHeaviside"),
        "ternary": quantized(lambda signs: signs.SteTern(), "kernel is not binary: ternary, SteTern"),
        "DoReFa": quantized(lambda signs: signs.DoReFa(2, mode="weights"), "kernel is not binary: DoReFa of 2 bits"),
        "no kernel quantizer": quantized(lambda signs: None, "real weights"),
        "input ApproxSign": entering(lambda signs: signs.ApproxSign(), ""),
        "input SwishSign": entering(lambda signs: signs.SwishSign(), ""),
        "input SteSign with clip": entering(lambda signs: signs.SteSign(clip_value=2.0), ""),
        "input DoReFa": entering(lambda signs: signs.DoReFa(2), "input is not a plain sign: DoReFa of 2 bits"),
        "input ternary": entering(lambda signs: signs.SteTern(), "input is not a plain sign: ternary, SteTern"),
        "input Heaviside": entering(
            lambda signs: signs.SteHeaviside(), "input is not a plain sign: 0 or 1, SteHeaviside"
        ),
        "input MagnitudeAwareSign": entering(
            lambda signs: signs.MagnitudeAwareSign(),
            "input is not a plain sign: scaled by the mean over the batch, MagnitudeAwareSign",
        ),
        "real input": entering(lambda signs: None, "real input"),
        "depthwise": on(SIZE, "QuantDepthwiseConv2D", 3, reason=f"depthwise: {ONLY_2D}", **depthwise),
        "transposed": on(SIZE, "QuantConv2DTranspose", 8, 3, reason=f"transposed: {ONLY_2D}", **LATENT),
        "locally connected": on(
            SIZE, "QuantLocallyConnected2D", 4, 3, reason=f"locally connected: {ONLY_2D}", **LATENT
        ),
        "separable": on(SIZE, "QuantSeparableConv2D", 8, 3, reason=f"separable: {ONLY_2D}", **separable),
        "1-D": on((64, 64), "QuantConv1D", 8, 3, reason=f"1-D: {ONLY_2D}", **LATENT),
        "1-D separable": on((64, 64), "QuantSeparableConv1D", 8, 3, reason=f"separable: {ONLY_2D}", **separable),
        "1-D locally connected": on(
            (64, 64), "QuantLocallyConnected1D", 4, 3, reason=f"locally connected: {ONLY_2D}", **LATENT
        ),
        "3-D": on((8, 8, 8, 8), "QuantConv3D", 4, 3, reason=f"3-D: {ONLY_2D}", **LATENT),
        "3-D transposed": on((8, 8, 8, 8), "QuantConv3DTranspose", 4, 3, reason=f"transposed: {ONLY_2D}", **LATENT),
        "dense": on((64 * 64,), "QuantDense", 16, reason="", **LATENT),
    }


KINDS = _kinds()
IN_EACH_RUN = {
    *("uneven strides", "dilation, padded", "groups", "groups of 16", "zero padding", "odd channel count"),
    *("bias and activation", "MagnitudeAwareSign (XNOR-Net)", "NoOp (Bop)", "ternary", "no kernel quantizer"),
    *("input SwishSign", "input DoReFa", "depthwise", "1-D", "dense"),
}
"""One of each sort; `make test-release` tries the others too."""


@pytest.mark.integration
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in IN_EACH_RUN else pytest.mark.release) for kind in KINDS]
)
def test_a_layer_converts_agrees_and_says_why_it_stays_float(
    kind: str, randomise: Callable[..., Any], tmp_path: Path
) -> None:
    import larq

    tf = import_tensorflow()
    make, reason = KINDS[kind]
    inputs = tf.keras.Input((8, 8, 3))
    x = tf.keras.layers.Conv2D(SIZE[-1], 1)(inputs)
    x = make(larq.layers, larq.quantizers, tf.keras.layers)(x)
    # Few scores of float sums: a sign that rounds the other way must not look like a wrong conversion.
    outputs = tf.keras.layers.Flatten()(x)
    randomised = randomise(tf.keras.Model(inputs, outputs))
    randomised.save(tmp_path / "net.h5")
    report = export_model(tmp_path / "net.h5", options=ExportOptions(pictures=4))
    tflite, saved_model = report.artifacts
    (layer,) = [each for each in tflite.layers if each.name == "it"]
    assert (layer.reason, layer.packed) == (reason, not reason)
    if kind != "input MagnitudeAwareSign":  # depends on the other pictures of the batch, in Keras too
        largest = np.abs(randomised(np.ones((1, 8, 8, 3)))).max()
        for artifact in (tflite, saved_model):
            assert artifact.agreements[0].mean_difference < 0.002 * largest

"""What the exports of the catalogue's networks must be: as small as promised, and packed where they can be."""

from bopkit import list_models

LARGEST_BYTES = {
    "binarynet": (1_360_000, 1_710_000),
    "binary_alexnet": (7_950_000, 8_590_000),
    "xnornet": (23_900_000, 25_460_000),
    "birealnet": (4_250_000, 4_740_000),
    "quicknet_small": (4_240_000, 4_860_000),
    "quicknet": (4_410_000, 5_030_000),
    "quicknet_large": (5_730_000, 6_720_000),
    "binary_resnet_e18": (4_230_000, 4_820_000),
    "binary_densenet28": (4_270_000, 5_060_000),
    "binary_densenet37": (5_410_000, 6_470_000),
    "binary_densenet37_dilated": (5_410_000, 6_530_000),
    "binary_densenet45": (7_710_000, 9_070_000),
    "meliusnet22": (4_110_000, 5_230_000),
    "real_to_binary": (5_450_000, 6_210_000),
    "reactnet_a": (7_810_000, 9_160_000),
    "reactnet18": (4_240_000, 5_050_000),
    "vgg_small": (950_000, 1_170_000),
    "resnet20": (70_000, 510_000),
    "resnet18": (2_160_000, 2_690_000),
    "bopnet_64k": (60_000, 250_000),
    "bopnet_256k": (180_000, 370_000),
}
"""Of the flatbuffer and of the SavedModel, whose graph takes about 10 kB a layer beside the weights."""


def assert_small_and_packed(name, report):
    """Check what `bopkit export --json` said of a network of full size.

    Args:
        name: Of the network in the catalogue.
        report: The JSON, of a flatbuffer and a SavedModel.
    """
    (counts,) = list_models(name)
    flatbuffer, saved_model = report["artifacts"]
    largest_flatbuffer_bytes, largest_saved_model_bytes = LARGEST_BYTES[name]
    assert flatbuffer["size_bytes"] <= largest_flatbuffer_bytes
    assert saved_model["size_bytes"] <= largest_saved_model_bytes
    assert flatbuffer["floor_bytes"] == saved_model["floor_bytes"] == counts["floor_bytes"]
    assert_packed(flatbuffer)
    assert len(saved_model["agreements"]) == 2
    for agreement in saved_model["agreements"]:
        assert agreement["largest_difference"] == 0


def assert_packed(flatbuffer):
    """Check that a flatbuffer packs every binary layer, and agrees with Keras but for near-ties."""
    assert any(layer["packed"] for layer in flatbuffer["layers"])
    for layer in flatbuffer["layers"]:
        assert layer["packed"] == (layer["kernel_bits"] == 1 and layer["input_bits"] == 1), layer
    assert len(flatbuffer["agreements"]) == 2
    for agreement in flatbuffer["agreements"]:
        # Of many, only the first are examined.
        assert all(each["near_tie"] is not False for each in agreement["disagreements"])

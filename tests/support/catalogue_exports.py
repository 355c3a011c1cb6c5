"""What the exports of the catalogue's networks must be: as small as promised, and packed where they can be."""

from bopkit import list_models

LARGEST_FLATBUFFER_BYTES = {
    "binarynet": 1_360_000,
    "binary_alexnet": 7_950_000,
    "xnornet": 23_900_000,
    "birealnet": 4_250_000,
}


def assert_small_and_packed(name, report):
    """Check what `bopkit export --json` said of a network of full size.

    Args:
        name: Of the network in the catalogue.
        report: The JSON, of a flatbuffer and a SavedModel.
    """
    (counts,) = list_models(name)
    flatbuffer, saved_model = report["artifacts"]
    assert flatbuffer["size_bytes"] <= LARGEST_FLATBUFFER_BYTES[name]
    assert saved_model["size_bytes"] <= 1.05 * counts["floor_bytes"] + 300_000
    assert flatbuffer["floor_bytes"] == saved_model["floor_bytes"] == counts["floor_bytes"]
    assert flatbuffer["layers"]
    for layer in flatbuffer["layers"]:
        assert layer["packed"] == (layer["kernel_bits"] == 1 and layer["input_bits"] == 1), layer
    assert len(saved_model["agreements"]) == len(flatbuffer["agreements"]) == 2
    for agreement in saved_model["agreements"]:
        assert agreement["largest_difference"] == 0
    for agreement in flatbuffer["agreements"]:
        assert all(each["near_tie"] for each in agreement["disagreements"])

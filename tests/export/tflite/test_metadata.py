"""Standard metadata, read back table by table with the field numbers of `metadata_schema.fbs`."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest

from bopkit.errors import BopkitError
from bopkit.export.labels import labels_text
from bopkit.export.network.signature import Signature
from bopkit.export.network.signature import SignatureTensor as Tensor
from bopkit.export.tflite.metadata import Contract, standard_metadata, with_labels

CONTRACT = Contract(
    name="net",
    description="A network.",
    version="1.2",
    signature=Signature(
        (Tensor("images", (24, 32, 3)),), (Tensor("probabilities", (2,), is_probabilities=True, names_class=True),)
    ),
    value_range=(-1.0, 2.0),
    mean=(127.5, 1.0, 2.0),
    std=(3.0, 4.0, 5.0),
    labels=("äpfel", "birnen"),
)


class Table:
    """One table of a flatbuffer; `table[n]` is the position of what field n holds."""

    def __init__(self, data: bytes, position: int):
        self.data, self.position = data, position
        self.vtable = position - self.read("<i", position)

    @staticmethod
    def root(data: bytes) -> Table:
        return Table(data, struct.unpack_from("<I", data, 0)[0])

    def read(self, layout: str, position: int):  # noqa: ANN201
        return struct.unpack_from(layout, self.data, position)[0]

    def field(self, number: int) -> int:
        assert 4 + 2 * number < self.read("<H", self.vtable), f"no field {number}"
        offset = self.read("<H", self.vtable + 4 + 2 * number)
        assert offset, f"field {number} is not set"
        return self.position + offset

    def byte(self, number: int) -> int:
        return self.read("<B", self.field(number))

    def uint(self, number: int) -> int:
        return self.read("<I", self.field(number))

    def target(self, number: int) -> int:
        return self.field(number) + self.uint(number)

    def table(self, number: int) -> Table:
        return Table(self.data, self.target(number))

    def text(self, number: int) -> str:
        start = self.target(number)
        return self.data[start + 4 : start + 4 + self.read("<I", start)].decode()

    def floats(self, number: int) -> list[float]:
        start = self.target(number)
        return list(struct.unpack_from(f"<{self.read('<I', start)}f", self.data, start + 4))

    def tables(self, number: int) -> list[Table]:
        start = self.target(number)
        places = [start + 4 + 4 * index for index in range(self.read("<I", start))]
        return [Table(self.data, place + self.read("<I", place)) for place in places]


def test_the_contract_can_be_read_back() -> None:
    data = standard_metadata(CONTRACT)
    assert data[4:8] == b"M001"
    model = Table.root(data)
    assert [model.text(number) for number in (0, 1, 2)] == ["net", "A network.", "1.2"]
    (subgraph,) = model.tables(3)
    (source,), (scores,) = subgraph.tables(2), subgraph.tables(3)
    assert (source.text(0), scores.text(0)) == ("images", "probabilities")
    image = source.table(3).table(1)
    assert (source.table(3).byte(0), image.byte(0)) == (2, 1)  # image properties, RGB
    assert (image.table(1).uint(0), image.table(1).uint(1)) == (32, 24)  # width, height
    (unit,) = source.tables(4)
    assert unit.byte(0) == 1  # normalisation
    assert (unit.table(1).floats(0), unit.table(1).floats(1)) == ([127.5, 1.0, 2.0], [3.0, 4.0, 5.0])
    assert (source.table(5).floats(0), source.table(5).floats(1)) == ([2.0] * 3, [-1.0] * 3)  # largest, smallest
    assert scores.table(3).byte(0) == 1  # a feature
    assert (scores.table(5).floats(0), scores.table(5).floats(1)) == ([1.0], [0.0])
    (labels,) = scores.tables(6)
    assert (labels.text(0), labels.byte(2)) == ("labels.txt", 2)  # labels of an axis


def test_what_is_not_known_is_left_out() -> None:
    from dataclasses import replace

    signature = CONTRACT.signature.with_scores("logits", is_probabilities=False)
    data = standard_metadata(replace(CONTRACT, signature=signature, mean=None, std=None, labels=()))
    (subgraph,) = Table.root(data).tables(3)
    for table, number in ((subgraph.tables(2)[0], 4), (subgraph.tables(3)[0], 5), (subgraph.tables(3)[0], 6)):
        with pytest.raises(AssertionError, match="no field|not set"):
            table.field(number)


def test_every_input_and_output_is_listed_in_order() -> None:
    from dataclasses import replace

    inputs = (Tensor("speed", (5,)), Tensor("images", (24, 32, 1)))
    outputs = (
        Tensor("map", (6, 6, 2)),
        Tensor("classes", (4,), is_probabilities=True, names_class=True),
        Tensor("boxes", (4,)),
    )
    data = standard_metadata(replace(CONTRACT, signature=Signature(inputs, outputs), mean=None, std=None, labels=()))
    (subgraph,) = Table.root(data).tables(3)
    found = [[(each.text(0), each.text(1)) for each in subgraph.tables(number)] for number in (2, 3)]
    assert found == [
        [("speed", "Values, 5."), ("images", "Picture, 24 x 32 pixels.")],
        [("map", "Values, 6 x 6 x 2."), ("classes", "One score a class."), ("boxes", "Values, 4.")],
    ]
    assert [each.table(3).byte(0) for each in subgraph.tables(2)] == [1, 2]  # a feature, a picture


def test_labels_lie_in_a_zip_archive_behind_the_flatbuffer() -> None:
    flatbuffer = bytes(range(256)) * 5
    file = with_labels(flatbuffer, CONTRACT.labels)
    assert file.startswith(flatbuffer) and file == with_labels(flatbuffer, CONTRACT.labels)
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        assert archive.read("labels.txt").decode() == "äpfel\nbirnen\n"
    assert with_labels(flatbuffer, ()) == flatbuffer


@pytest.mark.parametrize("label", ["a\nb", "a\r", "\u2028", "\x1b[0m"])
def test_a_label_that_does_not_stay_on_its_line_is_refused(label: str) -> None:
    with pytest.raises(BopkitError, match="control character"):
        labels_text(("first", label))

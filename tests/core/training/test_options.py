"""Settings of a training: plain JSON values in and out."""

import json
from pathlib import Path

from bopkit.training import TrainOptions


def test_options_survive_json():
    options = TrainOptions(
        model="binarynet",
        dataset="digits",
        hparams={"gamma": 1e-3, "gamma_end": None, "epochs": 2},
        output_dir=Path("runs") / "one",
        data_dir=None,
        checkpoint_every_minutes=0.1,
        early_stop=3,
        validationset=True,
    )
    values = json.loads(json.dumps(options.to_dict()))
    assert values["output_dir"] == "runs/one"
    again = TrainOptions(**values)
    assert again.to_dict() == options.to_dict()
    assert (again.hparams, again.precision, again.keep) == (options.hparams, None, 2)

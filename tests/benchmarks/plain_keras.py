"""The plain Keras loop that the training benchmarks compare with, and a clock for it. Imported by those beside it."""

import time

from bopkit import keras2
from bopkit.optim.schedules import make_schedule

keras2.quiet = True
tf = keras2.import_tensorflow()


def larq_optimizer(hparams, steps_per_epoch):
    """larq's own Bop on the binary kernels and Adam on the rest, with the settings of a `bop` set."""
    import larq

    names = ("threshold", "gamma", "learning_rate")
    threshold, gamma, learning_rate = (make_schedule(hparams, name, steps_per_epoch) for name in names)
    bop = larq.optimizers.Bop(threshold, gamma)
    adam = tf.keras.optimizers.legacy.Adam(learning_rate)
    return larq.optimizers.CaseOptimizer((bop.is_binary_variable, bop), default_optimizer=adam)


class EpochClock(tf.keras.callbacks.Callback):
    """Times the steps of each epoch, in seconds.

    `fit` makes its iterator before an epoch begins and reads the loss before it ends, so that the clock sees the steps
    and nothing of what `fit` does once a call. There is no hook for single steps, which would slow them down.
    """

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self._began)

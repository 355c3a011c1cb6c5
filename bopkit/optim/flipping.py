"""Optimizers that flip binary weights. Imported when one is first asked for, since it needs Keras.

A kernel holds -1 and +1. Each optimizer filters the gradient of a weight into one number s, and one rule flips:

    w <- +1 where s <= w tau, else -1

A weight of +1 flips where s > tau, one of -1 where s <= -tau. So at exactly tau a -1 weight flips and a +1 weight does
not, as by w <- sign(-sign(w s - tau) w), where the inner sign(0) is 0 and the outer one +1: the formula of Helwegen et
al.'s code and of larq.

All state is float32 and lies in slots, so that `tf.train.Checkpoint` and distribution strategies find it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from bopkit.binary_kernels import is_marked
from bopkit.keras2 import import_tensorflow

tf: Any = import_tensorflow()
LegacyOptimizer: Any = tf.keras.optimizers.legacy.Optimizer
Schedule: Any = tf.keras.optimizers.schedules.LearningRateSchedule

EPSILON = 1e-10
"""Added to the root of the second moment (arXiv 2104.05124)."""

SMALLEST = 2.0**-126
"""The smallest normal float32. Processors that TensorFlow runs on round what is smaller to 0."""


class FlippingOptimizer(LegacyOptimizer):
    """Filters gradients, and flips the weights that the filtered gradient speaks against.

    A subclass names its moving averages and its hyper-parameters, and says what `signal` is compared with the
    threshold. Every hyper-parameter may be a Keras schedule over the optimizer's own steps.

    Args:
        at_zero: With threshold 0, what happens to a weight of -1 whose signal is 0: `keep` leaves it; `original` makes
            it +1, as larq and the paper's code do. A threshold above 0 makes no difference between the two.
        name: Name of the optimizer.
        hypers: Values or schedules of `hyper_names`.
    """

    _HAS_AGGREGATE_GRAD = True  # Keras leaves the sum over replicas to `apply_gradients`

    averages: ClassVar[tuple[str, ...]]
    """Names of the slots of a kernel's shape, all starting from zero."""

    hyper_names: ClassVar[tuple[str, ...]]

    def __init__(self, at_zero: Literal["keep", "original"], name: str, **hypers: Any):
        super().__init__(name)
        self.at_zero = at_zero
        for hyper in self.hyper_names:
            self._set_hyper(hyper, hypers[hyper])

    def signal(self, gradient: Any, kernel: Any, rates: dict[str, Any]) -> Any:
        """Update the moving averages of a kernel in place.

        Args:
            gradient: float32 tensor of the kernel's shape.
            kernel: The variable.
            rates: The hyper-parameters of this step, float32 scalars.

        Returns:
            The filtered gradient s, float32 of the kernel's shape.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Hyper-parameters as plain values, schedules included."""
        hypers = {name: self._serialize_hyperparameter(name) for name in self.hyper_names}
        return {**super().get_config(), **hypers, "at_zero": self.at_zero}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Make an optimizer from what `get_config` returned."""
        schedules = tf.keras.optimizers.schedules
        return cls(
            **{
                name: schedules.deserialize(value, custom_objects) if isinstance(value, dict) else value
                for name, value in config.items()
            }
        )

    is_binary_variable = staticmethod(is_marked)

    def _create_slots(self, var_list: list[Any]) -> None:
        for variable in var_list:
            for name in self.averages:
                self.add_slot(variable, name)

    def _prepare_local(self, var_device: str, var_dtype: Any, apply_state: dict[Any, Any]) -> None:
        """Evaluate the schedules once a step, not once a kernel."""
        rates = apply_state[(var_device, var_dtype)]
        for name in self.hyper_names:
            value = self._get_hyper(name)
            rates[name] = tf.cast(value(self.iterations) if isinstance(value, Schedule) else value, tf.float32)

    def _resource_apply_dense(self, grad: Any, var: Any, apply_state: Any = None) -> Any:
        place = (var.device, var.dtype.base_dtype)
        rates = (apply_state or {}).get(place) or self._fallback_apply_state(*place)
        kernel = var.read_value()
        signal = self.signal(tf.cast(grad, tf.float32), var, rates)
        return var.assign(self.flipped(signal, var, kernel, rates))

    def flipped(self, signal: Any, variable: Any, kernel: Any, rates: dict[str, Any]) -> Any:
        """The kernel after the step: the rule above, unless a subclass has another.

        Args:
            signal: What `signal` returned.
            variable: The kernel's variable, which its slots belong to.
            kernel: Its value before the step, -1 or +1.
            rates: The hyper-parameters of this step, float32 scalars.
        """
        threshold = rates.get("threshold", 0.0)
        if self.at_zero == "keep":
            threshold = tf.maximum(threshold, SMALLEST)
        return tf.where(signal <= kernel * threshold, 1.0, -1.0)

    def _average(self, kernel: Any, name: str, value: Any, rate: Any) -> Any:
        """Move the average `name` towards `value` by `rate`, in place, and return it."""
        average = self.get_slot(kernel, name)
        average.assign_add(rate * (value - average))
        return average.read_value()


class Bop(FlippingOptimizer):
    """Bop (Helwegen et al. 2019, arXiv 1906.02107): m <- (1 - gamma) m + gamma g; s = m.

    Args:
        threshold: tau, from 0.
        gamma: Rate of the moving average of gradients, 0 to 1.
        at_zero: See `FlippingOptimizer`. With `original`, the same bits as `larq.optimizers.Bop`.
        name: Name of the optimizer.
    """

    averages = ("m",)
    hyper_names = ("threshold", "gamma")

    def __init__(
        self,
        threshold: Any = 1e-8,
        gamma: Any = 1e-4,
        at_zero: Literal["keep", "original"] = "keep",
        name: str = "Bop",
    ):
        super().__init__(at_zero, name, threshold=threshold, gamma=gamma)

    def signal(self, gradient: Any, kernel: Any, rates: dict[str, Any]) -> Any:
        """The moving average of gradients."""
        return self._average(kernel, "m", gradient, rates["gamma"])


class Bop2nd(FlippingOptimizer):
    """Second-order Bop (Suarez-Ramirez et al. 2021, arXiv 2104.05124).

    m as in Bop; v <- (1 - sigma) v + sigma g^2; s = m / (sqrt(v) + 1e-10). The biased form is checked against the
    authors' code. The paper's unbiased form divides m and v by what their start from zero leaves out, as Adam does,
    1 - (1 - rate)^t for a constant rate; their code of it was not at hand. Where rates change from step to step we
    divide by 1 - prod(1 - rate), which is the moving average of the constant 1 and is kept as such in two scalar slots.

    Args:
        threshold: tau, from 0.
        gamma: Rate of the moving average of gradients, 0 to 1.
        sigma: Rate of the moving average of squared gradients, 0 to 1.
        moments: `biased` or `unbiased`.
        at_zero: See `FlippingOptimizer`.
        name: Name of the optimizer.
    """

    averages = ("m", "v")
    hyper_names = ("threshold", "gamma", "sigma")

    def __init__(
        self,
        threshold: Any = 1e-6,
        gamma: Any = 1e-6,
        sigma: Any = 1e-2,
        moments: Literal["biased", "unbiased"] = "biased",
        at_zero: Literal["keep", "original"] = "keep",
        name: str = "Bop2nd",
    ):
        super().__init__(at_zero, name, threshold=threshold, gamma=gamma, sigma=sigma)
        self.moments = moments

    def signal(self, gradient: Any, kernel: Any, rates: dict[str, Any]) -> Any:
        """The first moment over the root of the second."""
        m = self._average(kernel, "m", gradient, rates["gamma"])
        v = self._average(kernel, "v", tf.square(gradient), rates["sigma"])
        if self.moments == "unbiased":
            m /= self._average(kernel, "m_ones", 1.0, rates["gamma"])
            v /= self._average(kernel, "v_ones", 1.0, rates["sigma"])
        return m / (tf.sqrt(v) + EPSILON)

    def get_config(self) -> dict[str, Any]:
        """Hyper-parameters as plain values, schedules included."""
        return {**super().get_config(), "moments": self.moments}

    def _create_slots(self, var_list: list[Any]) -> None:
        super()._create_slots(var_list)
        if self.moments == "unbiased":
            for variable in var_list:
                for name in ("m_ones", "v_ones"):
                    self.add_slot(variable, name, shape=())


class CEMA(FlippingOptimizer):
    """Cascaded exponential moving averages (Quist et al., ICLR 2023, arXiv 2303.02452).

    m <- (1 - gamma) m + gamma g; a <- (1 - alpha) a + alpha m; s = a. There is no threshold: a weight flips where a has
    its sign, and stays where a is 0. Checked against the authors' code, where alpha decays over the run and gamma does
    not. Scaling the gradient changes nothing.

    Args:
        gamma: Rate of the first moving average, 0 to 1; it has the part of momentum.
        alpha: Rate of the second, 0 to 1; it has the part of learning rate and weight decay.
        name: Name of the optimizer.
    """

    averages = ("m", "a")
    hyper_names = ("gamma", "alpha")

    def __init__(self, gamma: Any = 0.1, alpha: Any = 1e-3, name: str = "CEMA"):
        super().__init__("keep", name, gamma=gamma, alpha=alpha)

    def signal(self, gradient: Any, kernel: Any, rates: dict[str, Any]) -> Any:
        """The moving average of the moving average of gradients."""
        m = self._average(kernel, "m", gradient, rates["gamma"])
        return self._average(kernel, "a", m, rates["alpha"])

    def get_config(self) -> dict[str, Any]:
        """Hyper-parameters as plain values, schedules included."""
        config = super().get_config()
        del config["at_zero"]
        return config


class Bold(FlippingOptimizer):
    """The Boolean optimizer of BOLD (Nguyen et al., NeurIPS 2024, arXiv 2405.16339).

    m <- beta m + eta g; a weight flips where w m >= 1, on both sides alike; m <- 0 where it flipped. beta is the share
    of the kernel's weights that did not flip in the step before. The accumulator, the flip, the reset and beta are the
    paper's; it accumulates votes of a network that is Boolean throughout, and g is here the real gradient of the loss.

    Args:
        eta: Rate of accumulation, above 0. A constant gradient a flips its weight after about 1 / (eta a) steps.
        name: Name of the optimizer.
    """

    averages = ("m",)
    hyper_names = ("eta",)

    def __init__(self, eta: Any = 1000.0, name: str = "Bold"):
        super().__init__("keep", name, eta=eta)

    def signal(self, gradient: Any, kernel: Any, rates: dict[str, Any]) -> Any:
        """The accumulator."""
        return self.get_slot(kernel, "kept") * self.get_slot(kernel, "m") + rates["eta"] * gradient

    def flipped(self, signal: Any, variable: Any, kernel: Any, rates: dict[str, Any]) -> Any:
        """Flip at 1, start over there, and keep the share of the others for the next step."""
        flips = signal * kernel >= 1.0
        self.get_slot(variable, "m").assign(tf.where(flips, 0.0, signal))
        # Counted in whole numbers: the same share in whatever order they are added up, so on every replica.
        share = tf.cast(tf.math.count_nonzero(flips), tf.float32) / tf.cast(tf.size(flips), tf.float32)
        self.get_slot(variable, "kept").assign(1.0 - share)
        return tf.where(flips, -kernel, kernel)

    def get_config(self) -> dict[str, Any]:
        """Hyper-parameters as plain values, schedules included."""
        config = super().get_config()
        del config["at_zero"]
        return config

    def _create_slots(self, var_list: list[Any]) -> None:
        super()._create_slots(var_list)
        for variable in var_list:
            self.add_slot(variable, "kept", shape=())

"""Normalisation layers: batch normalisation and local response normalisation.

`BatchNorm1d/2d/3d` keeps running statistics of each channel.  In evaluation mode it normalises
with them; in training mode with the statistics of the batch, which it also adds to the running
ones.  Either way the arithmetic is `fastconv.functional.norm.batch_norm`.
"""

import numpy as np

from fastconv import grad as gradients
from fastconv.functional import norm
from fastconv.functional._check import flag, integer, normalise_layout
from fastconv.grad.norm import channel_statistics
from fastconv.nn.arguments import CHANNELS_FIRST
from fastconv.nn.module import ArrayAttribute, Module, ParameterLayer


class _BatchNorm(ParameterLayer):
    """What batch normalisation shares in all dimensions; `nd` is the number of spatial axes."""

    weight = ArrayAttribute(optional=True)
    bias = ArrayAttribute(optional=True)
    running_mean = ArrayAttribute(learned=False)
    running_var = ArrayAttribute(learned=False)

    nd = 0
    # PyTorch's files have it only since 2018.
    ignorable_state = ("num_batches_tracked",)

    def __init__(
        self,
        num_features,
        eps=1e-5,
        momentum=0.1,
        affine=True,
        *,
        layout=None,
        dtype=np.float32,
    ):
        op = type(self).__name__
        self.num_features = integer(op, "num_features", num_features, minimum=1)
        self.eps, self.momentum = eps, momentum
        self.layout = CHANNELS_FIRST[self.nd] if layout is None else layout
        self._channels_last = normalise_layout(op, self.layout, self.nd)
        shape = (self.num_features,)
        names = ("weight", "bias", "running_mean", "running_var")
        super().__init__(dtype, dict.fromkeys(names, shape))
        affine = flag(op, "affine", affine)
        self.weight = np.ones(shape) if affine else None
        self.bias = np.zeros(shape) if affine else None
        self.running_mean, self.running_var = np.zeros(shape), np.ones(shape)
        self.num_batches_tracked = 0

    @property
    def num_batches_tracked(self):
        """int: batches that have moved the running statistics."""
        return self._num_batches_tracked

    @num_batches_tracked.setter
    def num_batches_tracked(self, count):
        self._num_batches_tracked = int(count)

    def state_shapes(self):
        """Return the shapes of the layer's arrays, the number of batches among them, by name."""
        return {**super().state_shapes(), "num_batches_tracked": ()}

    def forward(self, x):
        """Return x, cast to the layer's dtype, normalised channel by channel."""
        x = self.cast(x)
        axis = self._channel_axis(x)
        if x.shape[axis] != self.num_features:
            raise ValueError(
                f"{type(self).__name__}: x must have {self.num_features} channels along axis "
                f"{axis}, got {x.shape[axis]} (x.shape={x.shape}, layout={self.layout!r})"
            )
        if self.training:
            mean, variance = self._batch_statistics(x, axis)
        else:
            mean, variance = self.running_mean, self.running_var
        self.remember(x, mean, variance, self.training)
        return norm.batch_norm(
            x,
            mean,
            variance,
            weight=self.weight,
            bias=self.bias,
            eps=self.eps,
            layout=self._layout_of(x),
        )

    def backward(self, grad):
        """Return the gradient of x: through the statistics too, where they were the batch's."""
        x, mean, variance, training = self.recall()
        grad = self.cast(grad, "grad")
        dx, dweight, dbias = gradients.batch_norm(
            x,
            grad,
            weight=self.weight,
            mean=mean,
            var=variance,
            training=training,
            eps=self.eps,
            layout=self._layout_of(x),
        )
        if self.weight is not None:
            self.add_gradient("weight", dweight)
            self.add_gradient("bias", dbias)
        return dx

    def _layout_of(self, x):
        """Return the layout by which the function is to read the axes of `x`."""
        return self.layout

    def _channel_axis(self, x):
        """Return the axis of `x` that holds the channels; the batch axis may be missing."""
        missing = self.nd + 2 - x.ndim
        if missing not in (0, 1):
            raise ValueError(
                f"{type(self).__name__}: x must have {self.nd + 2} axes ({self.layout}), or one "
                f"less without a batch, got {x.ndim} (x.shape={x.shape})"
            )
        return x.ndim - 1 if self._channels_last else 1 - missing

    def _batch_statistics(self, x, channel_axis):
        """Return mean and variance of each channel of `x`; the running ones move towards them.

        The result is normalised with the biased variance, while the running one takes the
        unbiased (divided by count - 1), both as PyTorch does.
        """
        count = x.size // self.num_features
        if count < 2:
            raise ValueError(
                f"{type(self).__name__}: x must have more than one value for each channel in "
                f"training mode, got x.shape={x.shape}; call eval() to use running statistics"
            )
        mean, variance = channel_statistics(x, self.dtype, channel_axis)
        unbiased = variance * count / (count - 1)
        self.running_mean += self.momentum * (mean - self.running_mean)
        self.running_var += self.momentum * (unbiased - self.running_var)
        self.num_batches_tracked += 1
        return mean.astype(self.dtype), variance.astype(self.dtype)

    def extra_repr(self):
        """Return the settings as PyTorch prints them."""
        affine = self.weight is not None
        shown = f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={affine}"
        return shown if self.layout == CHANNELS_FIRST[self.nd] else f"{shown}, layout={self.layout}"


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, W) arrays; see `BatchNorm2d`.

    Two axes are always batch and channels, so an x with a width needs a batch axis too.  Layouts
    are "NCW" (default) and "NWC".
    """

    nd = 1

    def _layout_of(self, x):
        # None: the function's rule for arrays without a layout, channels along axis 1.
        return None if x.ndim == 2 else self.layout

    def _channel_axis(self, x):
        return 1 if x.ndim == 2 else super()._channel_axis(x)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (N, C, H, W) arrays, with the meaning of torch.nn.BatchNorm2d.

    (x - mean) / sqrt(variance + eps) * weight + bias, each channel with its own numbers (Ioffe
    and Szegedy, "Batch normalization", 2015).

    Parameters
    ----------
    num_features : int
        Number of channels, C.
    eps : float
        Added to the variance, so that a constant channel does not divide by zero.
    momentum : float
        How far the running statistics move towards those of a batch, in training mode.
    affine : bool
        Whether there are weight and bias.
    layout : "NCHW" or "NHWC", optional
        Order of the logical axes; channels first by default.
    dtype : float32 or float64
        Type of the arrays; the input is cast to it.

    Attributes
    ----------
    weight, bias : ndarray, (C,), or None
        Gamma and beta.  Assigning checks the shape and takes a copy in the layer's dtype.
    running_mean, running_var : ndarray, (C,)
        Likewise.
    num_batches_tracked : int
        Batches that have moved the running statistics.
    """

    nd = 2


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of (N, C, D, H, W) arrays; see `BatchNorm2d`.

    Layouts are "NCDHW" (default) and "NDHWC".
    """

    nd = 3


class LocalResponseNorm(Module):
    """Normalise by the energy of neighbouring channels, as torch.nn.LocalResponseNorm does.

    x / (k + alpha * mean(x**2))**beta, the mean over `size` channels around each one, zeros beyond
    the first and the last (Krizhevsky et al., "ImageNet classification with deep convolutional
    neural networks", 2012, which writes alpha for the sum instead of the mean).

    Parameters
    ----------
    size : int
        Number of channels in the mean.
    alpha, beta, k : float
    layout : str, optional
        Names the axes of x; left out, the channels are axis 1.
    """

    def __init__(self, size, alpha=1e-4, beta=0.75, k=1.0, *, layout=None):
        self.size = integer("LocalResponseNorm", "size", size, minimum=1)
        self.alpha, self.beta, self.k = alpha, beta, k
        self.layout = layout

    def forward(self, x):
        """Return x normalised across channels."""
        self.remember(x)
        return norm.local_response_norm(
            x, self.size, self.alpha, self.beta, self.k, layout=self.layout
        )

    def backward(self, grad):
        """Return the gradient of x."""
        (x,) = self.recall()
        return gradients.local_response_norm(
            x, grad, self.size, self.alpha, self.beta, self.k, layout=self.layout
        )

    def extra_repr(self):
        """Return the settings as PyTorch prints them."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"

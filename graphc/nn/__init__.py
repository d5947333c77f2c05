"""Models and layers with Keras's names, arguments and defaults."""

from graphc.nn.convolution import Conv1D, Conv2D, DepthwiseConv2D
from graphc.nn.history import History
from graphc.nn.layers import Activation, Dense, Flatten, Layer
from graphc.nn.model import Model
from graphc.nn.pooling import (
    AveragePooling1D,
    AveragePooling2D,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    MaxPooling1D,
    MaxPooling2D,
)
from graphc.nn.sequential import Sequential

__all__ = [
    "Activation",
    "AveragePooling1D",
    "AveragePooling2D",
    "Conv1D",
    "Conv2D",
    "Dense",
    "DepthwiseConv2D",
    "Flatten",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "History",
    "Layer",
    "MaxPooling1D",
    "MaxPooling2D",
    "Model",
    "Sequential",
]

"""Models and layers with Keras's names, arguments and defaults."""

from graphc.nn.history import History
from graphc.nn.layers import Activation, Dense, Flatten, Layer
from graphc.nn.model import Model
from graphc.nn.sequential import Sequential

__all__ = ["Activation", "Dense", "Flatten", "History", "Layer", "Model", "Sequential"]

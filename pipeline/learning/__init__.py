"""Networks, augmentation, training, saliency, export: all that knows Keras."""

import os

# Said before Keras is imported: it would otherwise ask ~/.keras/keras.json, and checkpoints are named after this variable.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# Two TensorFlow operations side by side sum in an order that varies: with one at a time, the same seed on the same machine
# gives the same network to the last bit (measured; each operation still uses every core, at no loss of speed).
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

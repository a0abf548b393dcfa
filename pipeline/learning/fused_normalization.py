"""Batch normalization as one TensorFlow kernel: the one file that speaks to TensorFlow itself.

Keras writes batch normalization as a dozen passes over the whole batch, forward and backward; on a CPU they take longer than
the convolutions. The other files of `learning/` know Keras alone; `training.py` asks for this layer where `engine.py` says
that it pays.
"""

import keras
import tensorflow as tf


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` of float [n, h, w, channels] over the last axis: same weights, same results.

    Statistics are float32 whatever the inputs are. Source of the kernel: `tf.raw_ops.FusedBatchNormV3`.
    """

    def call(self, inputs, training=None, mask=None):
        """float32 or bfloat16 [n, h, w, channels] to the same."""
        channels = inputs.shape[-1]
        learns = bool(training and self.trainable)
        given = tf.zeros([0]) if learns else None
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma) if self.scale else tf.ones([channels]),
            offset=tf.convert_to_tensor(self.beta) if self.center else tf.zeros([channels]),
            mean=given if learns else tf.convert_to_tensor(self.moving_mean),
            variance=given if learns else tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=learns,
        )
        if learns:
            # The kernel divides by n - 1, Keras by n.
            count = tf.cast(tf.size(inputs) / channels, "float32")
            self._follow(self.moving_mean, mean)
            self._follow(self.moving_variance, variance * (count - 1) / count)
        return outputs

    def _follow(self, moving: keras.Variable, seen: tf.Tensor) -> None:
        moving.assign(moving * self.momentum + seen * (1.0 - self.momentum))

"""After JAX's own mnist_classifier_fromscratch."""

import json
import time

import jax
import jax.numpy as jnp
import numpy.random as npr
from jax import grad, jit
from sklearn.datasets import load_digits


def init_random_params(scale, layer_sizes, rng=npr.RandomState(0)):
    return [
        (scale * rng.randn(m, n), scale * rng.randn(n))
        for m, n in zip(layer_sizes[:-1], layer_sizes[1:])
    ]


def predict(params, inputs):
    activations = inputs
    for w, b in params[:-1]:
        activations = jnp.tanh(jnp.dot(activations, w) + b)
    final_w, final_b = params[-1]
    return jax.nn.log_softmax(jnp.dot(activations, final_w) + final_b)


def loss(params, batch):
    inputs, targets = batch
    return -jnp.mean(jnp.sum(predict(params, inputs) * targets, axis=1))


def accuracy(params, batch):
    inputs, targets = batch
    return jnp.mean(jnp.argmax(predict(params, inputs), 1) == jnp.argmax(targets, 1))


@jit
def update(params, batch):
    grads = grad(loss)(params, batch)
    return [(w - 0.1 * dw, b - 0.1 * db) for (w, b), (dw, db) in zip(params, grads)]


if __name__ == "__main__":
    num_epochs = 4
    digits = load_digits()
    images, labels = digits.data / 16, jax.nn.one_hot(digits.target, 10)
    train, test = (images[:1408], labels[:1408]), (images[1408:], labels[1408:])
    params = init_random_params(0.1, [64, 32, 10])
    accuracies = []
    for epoch in range(num_epochs):
        start_time = time.time()
        for at in range(0, 1408, 64):
            params = update(params, (train[0][at : at + 64], train[1][at : at + 64]))
        epoch_time = time.time() - start_time
        train_acc = accuracy(params, train)
        test_acc = accuracy(params, test)
        print(f"Epoch {epoch} in {epoch_time:0.2f} sec")
        print(f"Training set accuracy {train_acc}")
        print(f"Test set accuracy {test_acc}")
        accuracies.append((float(train_acc), float(test_acc)))
    with open("results.json", "w") as file:
        json.dump(accuracies, file)

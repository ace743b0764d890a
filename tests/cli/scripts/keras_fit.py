"""After Keras' quick start: compile, fit, evaluate."""

import json
import sys

import keras
from sklearn.datasets import load_digits

keras.utils.set_random_seed(1)
digits = load_digits()
x, y = digits.data / 16, digits.target

model = keras.Sequential(
    [
        keras.Input((64,)),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.summary()
model.compile(
    optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"]
)
history = model.fit(x[:1437], y[:1437], epochs=3, batch_size=64, validation_split=0.1)
score = model.evaluate(x[1437:], y[1437:], verbose=0)
print("Test loss:", score[0])
print("Test accuracy:", score[1])
with open("results.json", "w") as file:
    json.dump({**history.history, "test": score, "args": sys.argv[1:]}, file)

"""A scikit-learn evening: a network that is verbose, a forest, and a report."""

import json

from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, classification_report
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x / 16, y, random_state=1)
net = MLPClassifier((32,), max_iter=400, tol=1e-2, verbose=True, random_state=1)
net.fit(x_train, y_train)
forest = RandomForestClassifier(50, random_state=1).fit(x_train, y_train)
predicted = forest.predict(x_test)
print(classification_report(y_test, predicted))
print(f"Accuracy: {accuracy_score(y_test, predicted):.4f}")
with open("results.json", "w") as file:
    json.dump({"loss": net.loss_curve_, "accuracy": accuracy_score(y_test, predicted)}, file)

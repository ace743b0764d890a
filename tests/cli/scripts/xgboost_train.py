"""After XGBoost's Python introduction: DMatrix, a watchlist, train."""

import json

import xgboost as xgb
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

x, y = load_breast_cancer(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=1)
dtrain = xgb.DMatrix(x_train, label=y_train)
dtest = xgb.DMatrix(x_test, label=y_test)
param = {
    "max_depth": 2,
    "eta": 0.3,
    "objective": "binary:logistic",
    "eval_metric": ["auc", "logloss"],
}
results = {}
evallist = [(dtrain, "train"), (dtest, "eval")]
bst = xgb.train(param, dtrain, 20, evallist, evals_result=results)
with open("results.json", "w") as file:
    json.dump(results, file)

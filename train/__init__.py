"""The verbs: prepare a corpus, pretrain a model, evaluate it. Each is run as `python -m train.X`."""

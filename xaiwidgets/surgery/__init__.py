"""Model surgery: what runs in a forward pass, and other rules for its backward pass.

Everything here acts on operations (`relu`, `conv2d`, …), never on modules, and changes nothing on a model.
Importing `surgery` and `surgery.recipes` loads no torch.
"""

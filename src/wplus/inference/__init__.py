"""One pipeline under every command: inputs → crops → codes → outputs → images and files.

`run.Inference` is the way in. Nothing is imported here, so that the commands can read `options`
without torch.
"""

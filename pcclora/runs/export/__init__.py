"""A finished run as a model for other programs: ONNX or torch's own form, checked, with all that its use needs."""

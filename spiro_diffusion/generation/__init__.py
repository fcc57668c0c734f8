"""The trained generator: subjects, drawn curves, populations, ONNX."""

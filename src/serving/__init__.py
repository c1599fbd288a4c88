"""A trained classifier for use: files in, answers out. Loads no framework unless it is asked to."""

import os

# ONNX Runtime's wheels (1.32 on Linux) send events to Microsoft from the import on, and keep a file
# for that in the temporary folder; `disable_telemetry_events` comes too late.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

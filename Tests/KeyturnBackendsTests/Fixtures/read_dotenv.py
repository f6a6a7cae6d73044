"""What python-dotenv and the shell read out of a `.env` file."""
import json
import os
import subprocess
import sys
import tempfile

from dotenv import dotenv_values
from dotenv.parser import parse_stream

folder = tempfile.mkdtemp()
path = os.path.join(folder, "file.env")
for line in sys.stdin:
    question = json.loads(line)
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(question["text"])
    with open(path, encoding="utf-8") as file:
        bindings = list(parse_stream(file))
    values = dotenv_values(path)
    shell = None
    if question["name"]:
        done = subprocess.run(
            ["sh", "-c", f'. {path}; printf %s "${question["name"]}"'], capture_output=True, env={"PATH": os.environ["PATH"]})
        shell = done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
    print(json.dumps({
        "isWhole": not any(binding.error for binding in bindings),
        "bindings": [[binding.key, binding.value] for binding in bindings if binding.key is not None],
        "value": values.get(question["name"]) if question["name"] else None, "shell": shell}), flush=True)

"""Every task of the paper on files: an input and a model in, one or several faces out.

task = wplus.tasks.TASKS.find("super_resolution")
model, name = load_for(task)
for done in translate_files(["small.jpg"], Path("out"), model, name, task, Options(outputs=3)):
    print(done.pictures)
"""

from wplus.inference.model_choice import load_for
from wplus.inference.options import Options, Translation
from wplus.inference.run import translate_files

__all__ = ["Options", "Translation", "load_for", "translate_files"]

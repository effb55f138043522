"""Damaged and hostile input for everything that reads a file.

    python -m tests.fuzz --inputs 10000        counts for every reader; what failed is kept, and how to see it again

Every input is made of a good one and a seed (`mutate.py`). A reader (`readers.py`) may refuse it with a ValueError or
an OSError, which the scripts turn into one line, or accept it with a result that an independent check finds valid. All
else is a failure: another exception, a wrong value, more than TIMEOUT seconds, more than MEMORY, a crash, code that was
run, a file that was left behind (`loop.py`).
"""

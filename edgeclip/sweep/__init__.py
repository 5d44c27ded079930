"""Many conversions in one go: `plan` says what is to be made, `run` has it made, each in a fresh process (`apart`).

    models x schemes x targets -> plan() -> jobs, and rows of what needs none
                               -> run()  -> a row for each model, scheme and target

A job is one conversion. Jobs of one bundle follow each other, since each extends what the one before has written.
"""

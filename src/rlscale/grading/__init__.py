"""Grades free-form mathematical answers: right, wrong, or no verdict, and why.

Answers come from models and are hostile until proven otherwise. Only child processes look at them, each with a deadline
an answer and a limit on its memory; one that hangs or bursts is replaced, and its answer gets no verdict.
"""

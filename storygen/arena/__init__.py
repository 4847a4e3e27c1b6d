"""Blind battles between contestants (a model and how it is decoded), and the votes that people cast."""

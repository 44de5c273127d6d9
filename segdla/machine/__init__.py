"""The machine: devices, processes, threads, files, memory and the terminal. No images here.

A network is a plain module here: one to compile, to run in a precision, or to replicate over processes.
"""

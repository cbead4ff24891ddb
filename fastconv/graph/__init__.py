"""Whole networks: one small graph for ONNX files and `nn` models, improved by passes and run.

    ir.py        values, nodes, graphs
    ops/         one table from operators to kernels
    passes/      graph -> the same graph with less to do
    executor.py  runs the steps
    plan.py      repeats what a run did, without Python
"""

"""The race against the peers: `fastconv bench --peers` and `--networks`.

Every contestant (fastconv and the libraries it is compared with) runs in a process of its own and
they take turns; between its turns a process is stopped, because the idle threads of most libraries
spin for a while after a call and would slow down whoever comes next.

    command.py    options -> contests -> race -> table, JSON, chart
    contest.py    one convolution or pool: operands, float64 result, what its job is
    networks.py   the same for a whole network from an ONNX file
    light.py      known networks with random weights
    training.py   the same for --training: forward and backward, or a step of an optimiser
    lanes.py      the parent's side: processes, turns, runs
    worker.py     the child's side: reads commands, runs one contestant
    contestants.py, with_*.py, training_*.py    one library each: how to prepare a job and call it
    score.py      pure: medians, ratios, who won
    report.py     the result as text
"""

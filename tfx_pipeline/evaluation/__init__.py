"""What the Evaluator runs: held-out users ask the servable, TFMA averages over them and compares with thresholds."""

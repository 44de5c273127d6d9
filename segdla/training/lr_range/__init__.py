"""The learning-rate range test, which begins no run: range_test.py takes the steps, from_config.py opens the parts."""
